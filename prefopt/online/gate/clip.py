"""The clipped surrogate of PPO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from prefopt.online.slots import Gate


@dataclass(frozen=True)
class Clip(Gate):
    """``min(rho * A, clip(rho, 1 - low, 1 + high) * A)``.

    The gradient multiplier is ``rho``, and 0 where ``A > 0`` and ``rho > 1 + high`` or ``A < 0`` and ``rho < 1 - low``.

    Attributes:
        low, high: 0.2 and 0.2 in PPO and GRPO; a larger ``high`` is DAPO's clip-higher.

    Reference: PPO, arXiv 1707.06347.
    """

    low: float = 0.2
    high: float = 0.2
    arxiv: ClassVar[str] = "1707.06347"

    def __post_init__(self) -> None:
        if not (0 <= self.low <= 1 and self.high >= 0):
            raise ValueError(f"clip needs 0 <= low <= 1 and high >= 0, not low = {self.low}, high = {self.high}")

    def __call__(self, ratio: Tensor, advantages: Tensor, logps: Tensor) -> Tensor:
        """Return ``(B, T)``."""
        return torch.minimum(ratio * advantages, ratio.clamp(1 - self.low, 1 + self.high) * advantages)

    def closed(self, ratio: Tensor, advantages: Tensor) -> Tensor:
        """Return bool ``(B, T)``: tokens without gradient."""
        return ((advantages > 0) & (ratio > 1 + self.high)) | ((advantages < 0) & (ratio < 1 - self.low))
