"""A preference loss over all pairs of a prompt's completions whose quality level differs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from prefopt.batch import PolicyOutputs, Rollouts
from prefopt.online.groups import Groups
from prefopt.online.slots import Advantage, GroupTerm
from prefopt.online.whole.sums import row_means, same_group


@dataclass(frozen=True)
class LevelWins(Advantage):
    """``A_i = (completions of the group at a worse level - those at a better one) / (G - 1)``; level 1 is the best.

    What `LevelPairs` prefers, as one number a completion; invariant to any monotone change of scores. Rewards only tell
    which rows are scored. Groups with fewer than two scored rows give NaN.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"levels"})
    group_relative: ClassVar[bool] = True
    from_rewards: ClassVar[bool] = False

    def __call__(self, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B,)``."""
        groups = Groups.of(rollouts.group, signal)
        better, same = groups.below(rollouts.extras["levels"])
        others = (groups.count - 1).clamp(min=1)
        wins = (groups.count - same - 2 * better) / others
        return wins.where(groups.compared, torch.nan).to(signal.dtype)

    def scale(self, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return 0: rewards do not reach the advantage."""
        return torch.zeros_like(signal)


@dataclass(frozen=True)
class LevelPairs(GroupTerm):
    """``mean over pairs (i, j), level_i < level_j, of -log sigmoid(beta * kappa_i * (s_i - s_j))``,
    ``s = mean_t (log pi - log pi_ref)``.

    Pairs are all those of one prompt, over the whole batch; a prompt with many mixed levels has more of them, and more
    say. ``kappa_i`` is ``anisotropy`` where ``level_i = 1``, else 1. Where the batch has no pair: the mean over
    completions of ``-log sigmoid(s_i)`` at level 1 and ``-log sigmoid(-s_i)`` elsewhere. (The released code decides
    this, and takes the mean, in each micro-batch.)

    Attributes:
        beta: scale. anisotropy: how much more a pair with a right answer counts in the exponent.

    Reference: TRPA, arXiv 2504.04524.
    """

    beta: float = 0.1
    anisotropy: float = 2.5
    needs: ClassVar[frozenset[str]] = frozenset({"levels", "ref_logps"})
    arxiv: ClassVar[str] = "2504.04524"

    def carry(self, signal: Tensor, advantages: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B, 2)``: the weight of each of the row's pairs, and of the row itself where there are no pairs."""
        counts, levels = rollouts.mask.any(-1), rollouts.extras["levels"]
        groups = Groups.of(rollouts.group, torch.zeros(len(levels), device=levels.device).where(counts, torch.nan))
        better, _ = groups.below(levels)
        pairs = better.where(counts, 0.0).sum()
        alone = counts.double() / counts.sum().clamp(min=1) if pairs == 0 else torch.zeros_like(better)
        return torch.stack([counts.double() / pairs.clamp(min=1) * (pairs > 0), alone], -1)

    def __call__(self, policy: PolicyOutputs, rollouts: Rollouts, carried: Tensor) -> Tensor:
        """Return the loss."""
        levels = rollouts.extras["levels"]
        scores = row_means(policy.logps - rollouts.extras["ref_logps"], rollouts.mask)
        weight, alone = carried.to(scores).unbind(-1)
        preferred = same_group(rollouts) & (levels[:, None] < levels[None, :])
        kappa = torch.where(levels == 1, self.anisotropy, 1.0).to(scores)
        gap = self.beta * kappa[:, None] * (scores[:, None] - scores[None, :])
        both = weight[:, None] * (weight > 0)[None, :] * preferred
        unpaired = torch.nn.functional.logsigmoid(torch.where(levels == 1, scores, -scores))
        return -(both * torch.nn.functional.logsigmoid(gap)).sum() - (alone * unpaired).sum()
