"""Weighted sum of raw rewards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.groups import Groups
from prefopt.online.slots import Weighting
from prefopt.weighting.fixed import fixed_weights


@dataclass(frozen=True)
class WeightedSum(Weighting):
    """``s_i = sum_k w_k * r_{i,k}``; before any normalisation, so the source with the largest spread has the most say.

    A source that scored no row of a group is left out of that group (it does not apply to that prompt). A row that
    lacks a score which others of its group have is unscored as a whole: its total could not be compared with theirs,
    and a missing score counted as 0 would be a reward or a punishment that nobody gave. (TRL counts it as 0.)

    Attributes:
        weights: one a source; None = 1 each.
    """

    weights: tuple[float, ...] | None = None
    point: ClassVar[Literal["rewards", "advantages"]] = "rewards"

    def __call__(self, values: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B,)`` from rewards ``(B, K)``."""
        weights = self.nominal(values.shape[-1])
        scored = ~torch.isnan(values)
        applies = torch.stack([Groups.of(rollouts.group, column).count > 0 for column in values.unbind(-1)], -1)
        complete = (scored | ~applies).all(-1) & scored.any(-1)
        total = (torch.where(scored, values, 0.0).double() * weights.to(values.device)).sum(-1)
        return total.where(complete, torch.nan).to(values.dtype)

    def nominal(self, sources: int) -> Tensor:
        """Return the weights ``(K,)``."""
        return fixed_weights(self.weights, sources)
