"""Advantages from which tests of a suite each completion passes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.advantage.group_centred import GroupCentred
from prefopt.online.slots import Advantage

# Numbers that an estimate may hold at a time, where it compares each test with every pass rate that can occur.
LARGEST = 10_000_000


class SuiteEstimate(Protocol):
    """Test results of P prompts' completions to an object with ``advantages``."""

    def __call__(self, results: Tensor, turns: Tensor | None = None) -> SuiteRewards:
        """Judge completions by ``results`` ``(P, N, S, M)``, NaN = no verdict, with ``turns`` ``(P, N)`` each."""


class SuiteRewards(Protocol):
    """What a `SuiteEstimate` gives."""

    @property
    def advantages(self) -> Tensor:
        """``(P, N, S)``; NaN for a completion that it cannot judge."""


@dataclass(frozen=True)
class SuiteAdvantage(Advantage):
    """``A_i = estimate(test results of the group)_i + other_rewards * (s_i - mean(s))``.

    The estimate (VeRPO's, say) sees the verdict of every test on every completion of a prompt. Rewards do not enter
    through it; ``s`` is their weighted sum, so that a format or length reward can act beside the tests. Rows without a
    verdict on any test of their problem, or without a score, give NaN, as do groups with fewer than two rows left.

    Attributes:
        estimate: test results of one prompt to advantages.
        other_rewards: weight of the rewards themselves; 0 = only tests count, rewards are logged.
    """

    estimate: SuiteEstimate
    other_rewards: float = 0.0
    needs: ClassVar[frozenset[str]] = frozenset({"test_results"})
    group_relative: ClassVar[bool] = True
    from_rewards: ClassVar[bool] = False

    def __call__(self, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B,)``."""
        results = rollouts.extras["test_results"][:, None]
        turns = torch.ones_like(rollouts.group)
        found = by_group(self.estimate, results, turns, signal, rollouts)[:, 0]
        return with_rewards(found, signal, rollouts, self.other_rewards)

    def scale(self, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``other_rewards``: nothing else of a reward reaches the advantage."""
        return torch.full_like(signal, self.other_rewards)


@dataclass(frozen=True)
class TurnSuiteAdvantage(Advantage):
    """``A_{i,t} = estimate(test results of the group)_{i, turn of t} + other_rewards * (s_i - mean(s))``.

    As `SuiteAdvantage`, for completions of several turns with a submission each: every token of a turn gets the
    advantage of that turn. A completion with a turn that was not judged gives NaN.

    Attributes:
        estimate, other_rewards: as there.
    """

    estimate: SuiteEstimate
    other_rewards: float = 0.0
    needs: ClassVar[frozenset[str]] = frozenset({"turn_test_results", "turn_ids"})
    group_relative: ClassVar[bool] = True
    token_level: ClassVar[bool] = True
    from_rewards: ClassVar[bool] = False

    def __call__(self, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B, T)``."""
        results, mask = rollouts.extras["turn_test_results"], rollouts.mask
        turn = torch.where(mask, rollouts.extras["turn_ids"].long(), torch.zeros((), dtype=torch.int64))
        turns = torch.where(mask, turn + 1, 0).amax(1)
        found = by_group(self.estimate, results, turns, signal, rollouts)
        # A row that its group's estimate left out is NaN in every turn, so the place that is read does not matter.
        on_tokens = found.gather(1, turn.clamp(0, results.shape[1] - 1))
        return with_rewards(on_tokens, signal, rollouts, self.other_rewards)

    def scale(self, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``other_rewards``: nothing else of a reward reaches the advantage."""
        return torch.full_like(signal, self.other_rewards)


def with_rewards(found: Tensor, signal: Tensor, rollouts: Rollouts, share: float) -> Tensor:
    """Add the group-centred signal of the rows that have an advantage."""
    if share:
        judged = ~torch.isnan(found) if found.ndim == 1 else ~torch.isnan(found).any(1)
        centred = share * GroupCentred()(signal.where(judged, torch.nan), rollouts).double()
        found = found + (centred if found.ndim == 1 else centred[:, None])
    return found.to(signal.dtype)


def by_group(estimate: SuiteEstimate, results: Tensor, turns: Tensor, signal: Tensor, rollouts: Rollouts) -> Tensor:
    """Return ``(B, S)`` advantages from results ``(B, S, M)``: each group's rows side by side, padded with NaN."""
    labels, index = torch.unique(rollouts.group, return_inverse=True)
    order, sizes = index.argsort(stable=True), index.bincount(minlength=len(labels))
    place = torch.empty_like(index)
    place[order] = torch.arange(len(index), device=index.device) - (sizes.cumsum(0) - sizes)[index[order]]
    known = results.double().where(~torch.isnan(signal)[:, None, None], torch.nan)
    shape = (len(labels), int(sizes.max()))
    cube = known.new_full((*shape, *results.shape[1:]), torch.nan)
    cube[index, place] = known
    taken = turns.new_zeros(shape)
    taken[index, place] = turns
    problems = max(1, LARGEST // (cube[0].numel() + 1))
    parts = zip(cube.split(problems), taken.split(problems), strict=True)
    return torch.cat([estimate(part, counts).advantages for part, counts in parts])[index, place]
