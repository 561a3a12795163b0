"""The group's mean as the baseline, and a fixed advantage for a row without a group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.advantage.group_centred import GroupCentred
from prefopt.online.groups import Groups
from prefopt.online.slots import Advantage


@dataclass(frozen=True)
class BaselineOrAlone(Advantage):
    """``A_i = r_i - mean(r)``; ``alone`` for a scored row that is its group's only one.

    Such rows are examples to imitate that a loop has added, a reflection for instance. A group that has lost its other
    rows because they have no score is no such row and gives NaN.

    Attributes:
        alone: the fixed advantage.

    Reference: R3L, arXiv 2601.03715.
    """

    alone: float = 1.0
    arxiv: ClassVar[str] = "2601.03715"
    group_relative: ClassVar[bool] = True

    def __call__(self, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B,)``."""
        size = Groups.of(rollouts.group, torch.zeros_like(signal)).count
        found = GroupCentred()(signal, rollouts)
        return torch.where((size == 1) & ~torch.isnan(signal), self.alone, found)
