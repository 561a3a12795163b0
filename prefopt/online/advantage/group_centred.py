"""Group mean as the baseline, nothing divided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.groups import Groups
from prefopt.online.slots import Advantage


@dataclass(frozen=True)
class GroupCentred(Advantage):
    """``A_i = r_i - mean(r)`` over the scored rows of the group.

    Without the division by the standard deviation, very easy and very hard prompts are not over-weighted. Groups with
    fewer than two scored rows give NaN.

    Reference: Dr. GRPO, arXiv 2503.20783.
    """

    arxiv: ClassVar[str] = "2503.20783"
    group_relative: ClassVar[bool] = True

    def __call__(self, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B,)``."""
        groups = Groups.of(rollouts.group, signal)
        centred = groups.centred(signal)
        return centred.where(groups.compared, torch.nan).to(signal.dtype)
