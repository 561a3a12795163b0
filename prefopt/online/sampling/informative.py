"""Keep groups whose rewards differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.groups import Groups
from prefopt.online.slots import Sampling


@dataclass(frozen=True)
class InformativeGroups(Sampling):
    """Keep a group if any of its rewards takes more than one value in it: with 0/1 rewards, ``0 < accuracy < 1``.

    A group left out is not counted in any mean. The paper refills the batch by sampling more prompts; here the batch
    shrinks instead, and the share of groups without signal is logged.

    Attributes:
        of_signal: judge by the weighted signal instead: keep a group if its signal differs.

    Reference: dynamic sampling of DAPO, arXiv 2503.14476.
    """

    of_signal: bool = False
    arxiv: ClassVar[str] = "2503.14476"

    def __call__(self, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B,)`` bool."""
        if self.of_signal:
            return ~Groups.of(rollouts.group, signal).uniform(signal)
        keep = torch.zeros_like(rollouts.group, dtype=torch.bool)
        for column in rollouts.rewards.unbind(-1):
            keep |= ~Groups.of(rollouts.group, column).uniform(column)
        return keep
