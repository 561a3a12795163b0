"""The importance-weighted surrogate without any bound."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from prefopt.online.slots import Gate


@dataclass(frozen=True)
class ImportanceWeighted(Gate):
    """``rho * A``: unbiased for data of an older policy (Kakade and Langford, 2002), of unbounded variance.

    The gradient multiplier is ``rho``. Something else has to bound it: a policy weight, or a ratio that does.
    """

    def __call__(self, ratio: Tensor, advantages: Tensor, logps: Tensor) -> Tensor:
        """Return ``(B, T)``."""
        return ratio * advantages
