"""Groups whose predicted intervals scatter count less."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.slots import Adjustment
from prefopt.weighting.interval_agreement import INTERVALS, interval_statistics, scored_intervals


@dataclass(frozen=True)
class IntervalConfidence(Adjustment):
    """``A <- exp(-gamma * u) A``, ``u`` the group's deviation of predicted starts plus that of ends (ddof 0).

    A factor that is the same for the whole group is mostly divided out by a z-score if it acts on the reward; here it
    acts after it.

    Attributes:
        gamma: how much spread damps.

    Reference: the confidence of URPA, arXiv 2508.06317.
    """

    gamma: float = 1.0
    needs: ClassVar[frozenset[str]] = INTERVALS
    arxiv: ClassVar[str] = "2508.06317"

    def __call__(self, advantages: Tensor, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B, T)``."""
        _, spread = interval_statistics(*scored_intervals(rollouts, ~torch.isnan(signal)), rollouts.group)
        return advantages * (-self.gamma * spread).exp()[:, None]
