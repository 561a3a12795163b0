"""Advantages times how far later turns have moved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.slots import Adjustment


@dataclass(frozen=True)
class TurnCorrection(Adjustment):
    """``A_i <- M_i A_i``, ``M`` as `prefopt.online.turnwise` carries it from turn to turn.

    Reference: SeeUPO, arXiv 2602.06554.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"turn_correction"})
    arxiv: ClassVar[str] = "2602.06554"

    def __call__(self, advantages: Tensor, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B, T)``."""
        return advantages * rollouts.extras["turn_correction"].to(advantages)[:, None]
