"""Log-probability averaged over the response, without a reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from prefopt.offline.slots import Score, masked_mean


@dataclass(frozen=True)
class MeanLogProbability(Score):
    """``s = 1/T sum_t w_t log pi(y_t)``: what generation itself ranks by, so no reference is needed.

    Reference: SimPO, arXiv 2405.14734.
    """

    arxiv: ClassVar[str] = "2405.14734"

    def __call__(self, logps: Tensor, ref_logps: Tensor | None, mask: Tensor, weights: Tensor) -> Tensor:
        """Return ``(N,)``."""
        return masked_mean(logps, mask, weights)
