"""The score-function surrogate."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from prefopt.online.slots import Gate


@dataclass(frozen=True)
class LogProbability(Gate):
    """``A * log pi(y_t)``, whose gradient is REINFORCE's (Williams, 1992). Ignores the ratio: on-policy only."""

    def __call__(self, ratio: Tensor, advantages: Tensor, logps: Tensor) -> Tensor:
        """Return ``(B, T)``."""
        return advantages * logps
