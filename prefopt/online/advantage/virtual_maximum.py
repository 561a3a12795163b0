"""Group z-score with virtual best completions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.groups import Groups
from prefopt.online.slots import Advantage


@dataclass(frozen=True)
class VirtualMaximum(Advantage):
    """z-score against the group and ``copies`` virtual completions that earn ``reward_max``.

    ``R+ = {r_1 .. r_G, reward_max * copies}``, ``A_i = (r_i - mean(R+)) / (std(R+, ddof=1) + eps)`` for the real rows
    only: an all-wrong group is pushed down instead of telling nothing. An all-best group gives 0. Groups with fewer
    than two scored rows give NaN (the released code gives them the raw reward).

    Attributes:
        copies: virtual completions a group. reward_max: largest reward that the signal can take. eps: added to the std.

    Reference: NGRPO, arXiv 2509.18851.
    """

    copies: int = 1
    reward_max: float = 1.0
    eps: float = 1e-6
    arxiv: ClassVar[str] = "2509.18851"
    group_relative: ClassVar[bool] = True

    def __call__(self, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B,)``. Raises ``ValueError`` where a signal exceeds ``reward_max``."""
        if (signal > self.reward_max + 1e-6).any():
            raise ValueError(
                f"a reward of {signal.nan_to_num(-torch.inf).max().item():g} exceeds reward_max = {self.reward_max:g}; "
                "set reward_max to the largest value that the weighted rewards can take"
            )
        groups = Groups.of(rollouts.group, signal)
        size = groups.count + self.copies
        mean = (groups.total(signal) + self.copies * self.reward_max) / size
        squares = groups.total((signal.double() - mean) ** 2) + self.copies * (self.reward_max - mean) ** 2
        std = (squares / (size - 1)).sqrt()
        all_best = groups.smallest(signal) >= self.reward_max
        scored = ((signal.double() - mean) / (std + self.eps)).where(~all_best, 0.0)
        return scored.where(groups.compared, torch.nan).to(signal.dtype)
