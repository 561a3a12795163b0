"""Importance ratio of a whole completion, not normalised by its length."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from prefopt.online.slots import Ratio


@dataclass(frozen=True)
class ProductRatio(Ratio):
    """``w_i = exp(clamp(sum_t clamp(d_t, -20, 20), log 1e-8, 20))`` with ``d_t = log pi - log pi_old``, ``(B, 1)``.

    The true importance weight of a completion, within bounds that keep it finite: it moves fast with length.

    Reference: VESPO, arXiv 2602.10693.
    """

    arxiv: ClassVar[str] = "2602.10693"
    sequence_level: ClassVar[bool] = True

    def __call__(self, logps: Tensor, old_logps: Tensor, mask: Tensor) -> Tensor:
        """Return ``(B, 1)``."""
        total = (logps - old_logps).clamp(-20, 20).sum(-1, keepdim=True)
        return total.clamp(math.log(1e-8), 20).exp()
