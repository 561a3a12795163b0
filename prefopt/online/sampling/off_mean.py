"""Leave out completions that are exactly as good as their group's mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.groups import Groups
from prefopt.online.slots import Sampling


@dataclass(frozen=True)
class OffMean(Sampling):
    """Keep a row whose signal differs from the mean of its group: one that equals it would only dilute the means.

    Reference: SPO-tree, which drops edges of no advantage, arXiv 2505.23564.
    """

    tolerance: float = 1e-9
    arxiv: ClassVar[str] = "2505.23564"

    def __call__(self, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B,)`` bool."""
        groups = Groups.of(rollouts.group, signal)
        return ((signal.double() - groups.mean(signal)).abs() > self.tolerance) & ~groups.uniform(signal)
