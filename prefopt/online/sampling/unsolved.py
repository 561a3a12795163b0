"""Keep groups that are not solved yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.groups import Groups
from prefopt.online.slots import Sampling


@dataclass(frozen=True)
class UnsolvedGroups(Sampling):
    """Leave out groups whose every scored completion earns ``reward_max``.

    Reference: the filter of NGRPO, arXiv 2509.18851.
    """

    reward_max: float = 1.0
    arxiv: ClassVar[str] = "2509.18851"

    def __call__(self, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B,)`` bool."""
        return Groups.of(rollouts.group, signal).smallest(signal) < self.reward_max
