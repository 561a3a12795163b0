"""Keeps the chosen response likely."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from prefopt.batch import PairOutputs, Pairs
from prefopt.offline.slots import Regulariser, masked_mean


@dataclass(frozen=True)
class ChosenLikelihood(Regulariser):
    """``-coefficient / Tw * sum_t log pi(y_w,t)``: a mean per pair, so long responses weigh no more."""

    coefficient: float = 1.0

    def __call__(self, policy: PairOutputs, reference: PairOutputs | None, pairs: Pairs) -> Tensor:
        """Return ``(N,)``."""
        return -self.coefficient * masked_mean(policy.chosen_logps, pairs.chosen_mask)
