"""Advantages from which tests of a suite each completion passes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.advantage.group_centred import GroupCentred
from prefopt.online.slots import Advantage


class SuiteEstimate(Protocol):
    """Test results of one prompt's completions to an object with ``advantages``, ``(N,)`` or ``(N, S)``."""

    def __call__(self, results: Tensor, turns: Tensor | None = None) -> SuiteRewards:
        """Judge N completions by ``results`` ``(N, M)``, or ``(N, S, M)`` with a submission a turn."""


class SuiteRewards(Protocol):
    """What a `SuiteEstimate` gives; NaN for a completion that it cannot judge."""

    @property
    def advantages(self) -> Tensor:
        """One a completion, or one a turn."""


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
        results = rollouts.extras["test_results"]
        found = torch.full(signal.shape, torch.nan, dtype=torch.float64, device=signal.device)
        for rows in _groups(signal, rollouts):
            found[rows] = self.estimate(results[rows]).advantages
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
        found = torch.full(results.shape[:2], torch.nan, dtype=torch.float64, device=signal.device)
        for rows in _groups(signal, rollouts):
            found[rows] = self.estimate(results[rows], turns[rows]).advantages
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


def _groups(signal: Tensor, rollouts: Rollouts) -> list[Tensor]:
    """Rows of each group that have a score."""
    scored = ~torch.isnan(signal)
    return [torch.nonzero((rollouts.group == label) & scored).flatten() for label in rollouts.group.unique()]
