"""The clipped surrogate of PPO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from prefopt.online.slots import Gate


def clipped(ratio: Tensor, advantages: Tensor, least: float | Tensor, most: float | Tensor) -> Tensor:
    """Return ``min(rho * A, clip(rho, least, most) * A)``; bounds broadcast."""
    return torch.minimum(ratio * advantages, ratio.clamp(least, most) * advantages)


def beyond(ratio: Tensor, advantages: Tensor, least: float | Tensor, most: float | Tensor) -> Tensor:
    """Return bool: where `clipped` has no gradient, ``A > 0`` and ``rho > most`` or ``A < 0`` and ``rho < least``."""
    return ((advantages > 0) & (ratio > most)) | ((advantages < 0) & (ratio < least))


def check_width(low: float, high: float) -> None:
    """Raise ``ValueError`` unless a clip from ``1 - low`` to ``1 + high`` is one of ratios."""
    if not (0 <= low <= 1 and high >= 0):
        raise ValueError(f"clip needs 0 <= low <= 1 and high >= 0, not low = {low}, high = {high}")


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
        check_width(self.low, self.high)

    def __call__(self, ratio: Tensor, advantages: Tensor, logps: Tensor) -> Tensor:
        """Return ``(B, T)``."""
        return clipped(ratio, advantages, 1 - self.low, 1 + self.high)

    def closed(self, ratio: Tensor, advantages: Tensor) -> Tensor:
        """Return bool ``(B, T)``: tokens without gradient."""
        return beyond(ratio, advantages, 1 - self.low, 1 + self.high)
