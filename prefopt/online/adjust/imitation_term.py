"""The reference answer's share of an objective that learns from rollouts and imitates it at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.groups import Groups
from prefopt.online.slots import Adjustment


@dataclass(frozen=True)
class ImitationTerm(Adjustment):
    """``A_i <- (1 + lam) A_i`` for own completions, ``A_y <- beta A_y - lam mean_i A_i`` for the reference answer.

    With a mean over own completions ``o`` and one over reference answers ``y`` this is the objective ``mean_i A_i
    l(o_i) + beta A_y l(y) + lam mean_i A_i (l(o_i) - l(y))``. Its third term adds nothing of its own: where advantages
    are centred over own completions, ``mean_i A_i = 0`` and ``lam`` only rescales; where ``y`` is in the group, it also
    adds ``lam / G`` to beta.

    Attributes:
        beta: weight of imitation. lam: of the alignment term.

    Reference: GRAO, arXiv 2508.07750.
    """

    beta: float = 0.5
    lam: float = 0.6
    needs: ClassVar[frozenset[str]] = frozenset({"from_expert"})
    arxiv: ClassVar[str] = "2508.07750"

    def __call__(self, advantages: Tensor, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B, T)``."""
        expert = rollouts.extras["from_expert"]
        of_row = advantages.double().sum(-1) / rollouts.mask.sum(-1).clamp(min=1)
        own = Groups.of(rollouts.group, of_row.where(rollouts.mask.any(-1) & ~expert, torch.nan))
        mean = own.mean(of_row).nan_to_num()[:, None]
        return torch.where(expert[:, None], self.beta * advantages - self.lam * mean, (1 + self.lam) * advantages)
