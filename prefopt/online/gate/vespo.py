"""A soft weight of whole completions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from prefopt.online.slots import Gate


@dataclass(frozen=True)
class VESPO(Gate):
    """``sg[phi(w)] * A * log pi`` with ``phi(w) = e^lambda * w^k * e^(-lambda w)``, for a ratio ``w``.

    ``phi(1) = 1``, the weight falls smoothly to both sides of its maximum at ``w = k / lambda`` and is never cut off.
    The gradient multiplier is ``phi``. Made for the product of a completion's ratios (`ProductRatio`).

    Attributes:
        k_positive, lambda_positive: where ``A >= 0``. k_negative, lambda_negative: where ``A < 0``.

    Reference: VESPO, arXiv 2602.10693.
    """

    k_positive: float = 2.0
    lambda_positive: float = 3.0
    k_negative: float = 3.0
    lambda_negative: float = 2.0
    arxiv: ClassVar[str] = "2602.10693"

    def __post_init__(self) -> None:
        if min(self.k_positive, self.lambda_positive, self.k_negative, self.lambda_negative) <= 0:
            raise ValueError(f"the exponents k and lambda of VESPO must be positive: {self}")

    def __call__(self, ratio: Tensor, advantages: Tensor, logps: Tensor) -> Tensor:
        """Return ``(B, T)``."""
        weight = ratio.detach()
        log_weight = weight.clamp(min=torch.finfo(ratio.dtype).tiny).log()
        k = torch.where(advantages >= 0, self.k_positive, self.k_negative).to(ratio.dtype)
        rate = torch.where(advantages >= 0, self.lambda_positive, self.lambda_negative).to(ratio.dtype)
        return (rate + k * log_weight - rate * weight).exp() * advantages * logps
