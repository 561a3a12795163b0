"""A reward without labels: how far a predicted interval agrees with the group's mean interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.groups import Groups
from prefopt.online.slots import Weighting
from prefopt.weighting.weighted_sum import WeightedSum

INTERVALS = frozenset({"predicted_starts", "predicted_ends"})


def interval_statistics(starts: Tensor, ends: Tensor, group: Tensor) -> tuple[Tensor, Tensor]:
    """Return each row's intersection over union with its group's mean interval, and the group's spread, ``(B,)`` each.

    The spread is the sum of the population deviations of starts and ends. Rows without an interval (NaN) count in no
    mean and have an intersection of 0, as have rows that end before they start.
    """
    readable = ~(torch.isnan(starts) | torch.isnan(ends))
    starts, ends = starts.double().where(readable, torch.nan), ends.double().where(readable, torch.nan)
    groups = Groups.of(group, starts)
    low, high = groups.mean(starts), groups.mean(ends)
    overlap = (torch.minimum(ends, high) - torch.maximum(starts, low)).clamp(min=0)
    union = (ends - starts).clamp(min=0) + (high - low).clamp(min=0) - overlap
    agreement = (overlap / union.where(union > 0, 1.0)).nan_to_num()
    return agreement, (groups.std(starts, 0) + groups.std(ends, 0)).nan_to_num()


def scored_intervals(rollouts: Rollouts, scored: Tensor) -> tuple[Tensor, Tensor]:
    """Return predicted starts and ends ``(B,)``, NaN in rows that are not ``scored``."""
    starts, ends = rollouts.extras["predicted_starts"], rollouts.extras["predicted_ends"]
    return starts.where(scored, torch.nan), ends.where(scored, torch.nan)


@dataclass(frozen=True)
class IntervalAgreement(Weighting):
    """``s_i = share * sum_k w_k r_{i,k} + (1 - share) * exp(-gamma * u) * IoU(interval_i, mean interval)``.

    The mean interval of the group stands for the label that is not there; ``u``, the deviation of its starts plus that
    of its ends, says how far it can be trusted. The sources are the format reward and the like. Give times as shares of
    the video's length, so that gamma means the same for all videos.

    Attributes:
        weights: one a source; None = 1 each.
        gamma: how much spread damps; 0 = not at all. The paper's is not established.
        share: of the sources; the rest is agreement.

    Reference: URPA, arXiv 2508.06317.
    """

    weights: tuple[float, ...] | None = None
    gamma: float = 1.0
    share: float = 0.5
    needs: ClassVar[frozenset[str]] = INTERVALS
    arxiv: ClassVar[str] = "2508.06317"

    def __call__(self, values: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B,)`` from rewards ``(B, K)``."""
        given = WeightedSum(self.weights)(values, rollouts).double()
        scored = ~torch.isnan(given)
        starts, ends = (
            rollouts.extras[name].where(scored, torch.nan) for name in ("predicted_starts", "predicted_ends")
        )
        agreement, spread = interval_statistics(starts, ends, rollouts.group)
        agreed = (-self.gamma * spread).exp() * agreement
        return (self.share * given + (1 - self.share) * agreed).to(values.dtype)

    def nominal(self, sources: int) -> Tensor:
        """Return the weights ``(K,)`` of the sources."""
        return self.share * WeightedSum(self.weights).nominal(sources)
