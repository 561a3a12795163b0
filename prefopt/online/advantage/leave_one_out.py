"""Leave-one-out baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.groups import Groups
from prefopt.online.slots import Advantage


@dataclass(frozen=True)
class LeaveOneOut(Advantage):
    """``A_i = r_i - mean_{j != i} r_j = G / (G - 1) * (r_i - mean(r))`` over the scored rows of the group.

    Unbiased: a row's baseline does not depend on its own reward. Groups with fewer than two scored rows give NaN.

    Attributes:
        normalise: divide by the group's unbiased standard deviation plus ``eps``, as an option of PipelineRL does.

    Reference: RLOO, arXiv 2402.14740.
    """

    normalise: bool = False
    eps: float = 1e-4
    arxiv: ClassVar[str] = "2402.14740"
    group_relative: ClassVar[bool] = True

    def __call__(self, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B,)``."""
        groups = Groups.of(rollouts.group, signal)
        size = groups.count
        factor = size / (size - 1).where(size > 1, torch.nan)
        if self.normalise:
            factor = factor / (groups.std(signal, 1) + self.eps)
        centred = groups.centred(signal)
        return (factor * centred).where(groups.scored, torch.nan).to(signal.dtype)
