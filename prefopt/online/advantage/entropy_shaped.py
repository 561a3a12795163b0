"""Right and wrong answers, told apart by the policy's entropy along them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.adjust.whitened import whiten
from prefopt.online.advantage.group_normalised import GroupNormalised
from prefopt.online.groups import Groups
from prefopt.online.slots import Advantage, masked

EPS = 1e-8


def _bounded(entropies: Tensor, mask: Tensor, bounds: tuple[float, float] | None) -> Tensor:
    entropies = masked(entropies.double(), mask)
    return entropies if bounds is None else entropies.clamp(*bounds)


@dataclass(frozen=True)
class EntropyShapedTokens(Advantage):
    """Token rewards that follow entropy, normalised over the tokens of the batch, ``(B, T)``.

    At position t of one prompt's completions let ``d`` correct and ``h`` wrong ones still have a token::

        correct: r+ = base + bonus * d * H / sum of H over the correct,          r- = 0
        wrong:   r- = -base - bonus * h * (1/H) / sum of 1/H over the wrong,     r+ = 0
        A+ = (r+ - mean(r+)) / std(r+),  A- = (r- - mean(r-)) / std(r-)          over all tokens of the batch
        A  = A+ on tokens of correct completions, A- on those of wrong ones

    Correct completions gain where the policy hesitated, wrong ones lose where it was sure. Mean and deviation count the
    zeros of the other set, as the definition has it: without them half of the correct tokens would be punished. With
    ``base + bonus = 1`` the r+ at a position add up to ``d``. Unbiased deviations; a batch where r+ (or r-) is the same
    throughout gives 0.

    Attributes:
        base, bonus: alpha_1 and alpha_2.
        correct_above: a completion is correct if its reward exceeds this.
        entropy_bounds: clamp entropies to these; None = not at all.

    Reference: GTPO, arXiv 2508.04349.
    """

    base: float = 1.0
    bonus: float = 0.1
    correct_above: float = 0.5
    entropy_bounds: tuple[float, float] | None = None
    needs: ClassVar[frozenset[str]] = frozenset({"entropies"})
    arxiv: ClassVar[str] = "2508.04349"
    token_level: ClassVar[bool] = True

    def __call__(self, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B, T)``."""
        scored = ~torch.isnan(signal)
        present = rollouts.mask & scored[:, None]
        correct = (signal > self.correct_above)[:, None] & present
        positive, negative = self.token_rewards(correct, present, rollouts)
        advantages = torch.where(correct, whiten(positive, present, EPS), whiten(negative, present, EPS))
        return advantages.where(scored[:, None], torch.nan).to(signal.dtype)

    def token_rewards(self, correct: Tensor, present: Tensor, rollouts: Rollouts) -> tuple[Tensor, Tensor]:
        """Return ``r+`` and ``r-``, ``(B, T)`` each; ``correct`` and ``present`` are masks of tokens ``(B, T)``."""
        entropies = _bounded(rollouts.extras["entropies"], present, self.entropy_bounds)
        groups = Groups.of(rollouts.group, torch.zeros_like(rollouts.rewards[:, 0]))
        found = []
        for rows, strength, sign in (
            (correct, entropies, 1.0),
            (present & ~correct, 1 / (entropies + EPS), -1.0),
        ):
            strength = strength.where(rows, 0.0)
            share = strength / (groups.column_total(strength) + EPS)
            reward = self.base + self.bonus * groups.column_total(rows) * share
            found.append(sign * reward.where(rows, 0.0))
        return found[0], found[1]


@dataclass(frozen=True)
class EntropyShapedSequences(Advantage):
    """Rewards that follow a completion's mean entropy ``h``, then a z-score in the group, ``(B,)``::

        correct: base + bonus * n * h / sum of h over the n correct of the group
        wrong:   -base - bonus * m * (1/h) / sum of 1/h over the m wrong of the group

    The z-score is over all completions of the prompt. Groups with fewer than two scored rows give NaN.

    Attributes:
        base, bonus: beta_1 and beta_2.
        correct_above: a completion is correct if its reward exceeds this.
        entropy_bounds: clamp entropies to these; None = not at all.
        ddof, eps: of the z-score.

    Reference: GRPO-S, arXiv 2508.04349.
    """

    base: float = 1.0
    bonus: float = 0.1
    correct_above: float = 0.5
    entropy_bounds: tuple[float, float] | None = None
    ddof: int = 1
    eps: float = EPS
    needs: ClassVar[frozenset[str]] = frozenset({"entropies"})
    arxiv: ClassVar[str] = "2508.04349"
    group_relative: ClassVar[bool] = True

    def __call__(self, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B,)``."""
        shaped = self.sequence_rewards(signal, rollouts).to(signal.dtype)
        return GroupNormalised(self.ddof, self.eps)(shaped, rollouts)

    def sequence_rewards(self, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return the shaped rewards ``(B,)``, NaN in rows without a score."""
        entropies = _bounded(rollouts.extras["entropies"], rollouts.mask, self.entropy_bounds)
        mean = masked(entropies, rollouts.mask).sum(-1) / rollouts.mask.sum(-1).clamp(min=1)
        scored, correct = ~torch.isnan(signal), signal > self.correct_above
        shaped = torch.zeros_like(mean)
        for rows, strength, sign in ((correct, mean, 1.0), (~correct & scored, 1 / (mean + EPS), -1.0)):
            groups = Groups.of(rollouts.group, strength.where(rows, torch.nan))
            share = strength / (groups.total(strength) + EPS)
            shaped = torch.where(rows, sign * (self.base + self.bonus * groups.count * share), shaped)
        return shaped.where(scored, torch.nan)
