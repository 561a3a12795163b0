"""The squared distance of a group's implied rewards from its rewards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from prefopt.batch import PolicyOutputs, Rollouts
from prefopt.online.choice import check_choice
from prefopt.online.groups import Groups
from prefopt.online.slots import GroupTerm
from prefopt.online.whole.sums import group_means, prompts, row_sums

Anchor = Literal["behaviour", "reference"]


@dataclass(frozen=True)
class GroupVariance(GroupTerm):
    """``mean over prompts of 1 / (G - 1) * sum_i 1/2 * ((R_i - mean R) - (A_i - mean A))^2``,
    ``R_i = beta * sum_t (log pi - log pi_anchor)``, ``A`` the advantages.

    With ``A = r - mean r`` the optimum is ``pi* proportional to pi_anchor * exp(r / beta)``, whoever wrote the
    completions, as long as they cover its support. Gradient on the log-probability of completion i, per prompt:
    ``beta / (G - 1) * ((R_i - mean R) - (A_i - mean A))``, which sums to 0 over the group and equals
    ``beta G / (G - 1)`` times that of REINFORCE with the detached reward ``r_i - R_i`` minus its group's mean. Sums
    over tokens, so its scale grows with length. Completions without a token take no part; groups need two that do.

    Attributes:
        beta: price of leaving the anchor.
        anchor: ``behaviour`` is the policy that wrote the batch, as in the released code; ``reference`` stays fixed.
        average_prompts: False sums over the prompts of the batch, as the released code does.

    Reference: GVPO, arXiv 2504.19599.
    """

    beta: float = 0.1
    anchor: Anchor = "behaviour"
    average_prompts: bool = True
    arxiv: ClassVar[str] = "2504.19599"

    def __post_init__(self) -> None:
        check_choice("anchor", self.anchor, Anchor)

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        """The reference's log-probabilities, where it is the anchor."""
        return frozenset({"ref_logps"} if self.anchor == "reference" else ())

    def carry(self, signal: Tensor, advantages: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B, 2)``: the row's weight, 0 where it takes no part, and the centred advantage it should reach."""
        taking_part = rollouts.mask.any(-1)
        target = advantages.double().sum(-1) / rollouts.mask.sum(-1).clamp(min=1)
        groups = Groups.of(rollouts.group, target.where(taking_part, torch.nan))
        counts = taking_part & (groups.count > 1)
        weight = 1 / (groups.count - 1).clamp(min=1)
        if self.average_prompts:
            weight = weight / prompts(rollouts.group, counts)
        centred = (target - groups.mean(target.where(taking_part, 0.0))).where(counts, 0.0)
        return torch.stack([weight.where(counts, 0.0), centred], -1)

    def __call__(self, policy: PolicyOutputs, rollouts: Rollouts, carried: Tensor) -> Tensor:
        """Return the loss."""
        anchor = rollouts.extras["ref_logps"] if self.anchor == "reference" else rollouts.logps
        implied = self.beta * row_sums(policy.logps - anchor, rollouts.mask)
        weight, target = carried.to(implied).unbind(-1)
        centred = implied - group_means(implied, rollouts, weight > 0)
        return (weight * (centred - target) ** 2 / 2).sum()
