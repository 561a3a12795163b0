"""More weight to what went well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.groups import Groups
from prefopt.online.slots import Adjustment


@dataclass(frozen=True)
class Amplified(Adjustment):
    """``A <- factor * A`` where ``A > 0``, in groups of several rows.

    ``solved_from`` is the released code's: a completion whose reward reaches it has ``A = 1`` whatever its group, even
    where all of it is solved, which is a permanent pull towards solutions.

    Attributes:
        factor: of positive advantages. solved_from: reward of a solved completion, or None.

    Reference: R3L, arXiv 2601.03715.
    """

    factor: float = 3.0
    solved_from: float | None = None
    arxiv: ClassVar[str] = "2601.03715"

    def __call__(self, advantages: Tensor, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B, T)``."""
        several = (Groups.of(rollouts.group, signal).count > 1)[:, None]
        found = torch.where(several & (advantages > 0), self.factor * advantages, advantages)
        if self.solved_from is None:
            return found
        return torch.where((signal >= self.solved_from)[:, None], torch.ones_like(found), found)
