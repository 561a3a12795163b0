"""A soft gate instead of a clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from prefopt.online.slots import Gate


@dataclass(frozen=True)
class SAPO(Gate):
    """``f(rho) * A`` with ``f(rho) = (4 / tau) * sigmoid(tau * (rho - 1))``.

    The gradient multiplier is ``4 p (1 - p) * rho`` with ``p = sigmoid(tau * (rho - 1))``: 1 at ``rho = 1`` for any
    ``tau``, decaying to both sides and never exactly 0. ``tau`` is ``tau_positive`` where ``A > 0``, else
    ``tau_negative``. The value differs from a clipped loss by the constant ``2 / tau``; compare gradients, not loss
    curves.

    Attributes:
        tau_positive, tau_negative: temperatures; a larger one decays faster. Negative advantages spread
            probability over many unsampled tokens, hence the larger default.

    Reference: SAPO, arXiv 2511.20347.
    """

    tau_positive: float = 1.0
    tau_negative: float = 1.05
    arxiv: ClassVar[str] = "2511.20347"

    def __post_init__(self) -> None:
        if min(self.tau_positive, self.tau_negative) <= 0:
            raise ValueError(f"temperatures must be positive, not {self.tau_positive} and {self.tau_negative}")

    def __call__(self, ratio: Tensor, advantages: Tensor, logps: Tensor) -> Tensor:
        """Return ``(B, T)``."""
        tau = torch.where(advantages > 0, self.tau_positive, self.tau_negative).to(ratio.dtype)
        return (4 / tau) * torch.sigmoid(tau * (ratio - 1)) * advantages
