"""A preference loss between the successes and the failures of a prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from prefopt.batch import PolicyOutputs, Rollouts
from prefopt.online.groups import Groups
from prefopt.online.slots import GroupTerm
from prefopt.online.whole.sums import row_sums, same_group


@dataclass(frozen=True)
class SuccessPairs(GroupTerm):
    """``weight * mean over prompts of mean over (success s, failure f) of -log sigmoid(beta (D_s - D_f))``,
    ``D = sum_t (log pi - log pi_ref)``.

    Pairs are on-policy: both answers come from the group. The mean over prompts is over all that take part, with pairs
    or without. Sums over long answers make the sigmoid saturate; ``per_token`` takes means instead.

    Attributes:
        weight: of this term. beta: scale. correct_above: a success has a larger signal.
        per_token: ``D`` is a mean over tokens.

    Reference: the group alignment loss of DYPO, arXiv 2604.08926.
    """

    weight: float = 0.5
    beta: float = 1.0
    correct_above: float = 0.5
    per_token: bool = False
    needs: ClassVar[frozenset[str]] = frozenset({"ref_logps"})
    arxiv: ClassVar[str] = "2604.08926"

    def carry(self, signal: Tensor, advantages: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B, 2)``: the weight of each of the row's pairs, and whether it is a success (1) or failure (-1)."""
        counts = rollouts.mask.any(-1)
        success = signal > self.correct_above
        groups = Groups.of(rollouts.group, signal.where(counts, torch.nan))
        won = groups.total(success)
        pairs = won * (groups.count - won)
        weight = (self.weight / pairs.clamp(min=1)).where(counts & (pairs > 0), 0.0)
        weight = weight / max(len(rollouts.group[counts].unique()), 1)
        return torch.stack([weight, torch.where(success, 1.0, -1.0).double()], -1)

    def __call__(self, policy: PolicyOutputs, rollouts: Rollouts, carried: Tensor) -> Tensor:
        """Return the loss."""
        drift = row_sums(policy.logps - rollouts.extras["ref_logps"], rollouts.mask)
        if self.per_token:
            drift = drift / rollouts.mask.sum(-1).clamp(min=1)
        weight, verdict = carried.to(drift).unbind(-1)
        pairs = same_group(rollouts) & (verdict > 0)[:, None] & ((verdict < 0) & (weight > 0))[None, :]
        gap = self.beta * (drift[:, None] - drift[None, :])
        return -(weight[:, None] * pairs * torch.nn.functional.logsigmoid(gap)).sum()
