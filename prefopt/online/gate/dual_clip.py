"""The clipped surrogate, bounded for negative advantages too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from prefopt.online.gate.clip import beyond, check_width, clipped
from prefopt.online.slots import Gate


def dual_clipped(
    ratio: Tensor, advantages: Tensor, least: float | Tensor, most: float | Tensor, bound: float
) -> Tensor:
    """Return the clipped surrogate ``s``, and ``max(s, bound * A)`` where ``A < 0``."""
    surrogate = clipped(ratio, advantages, least, most)
    return torch.where(advantages < 0, torch.maximum(surrogate, bound * advantages), surrogate)


@dataclass(frozen=True)
class DualClip(Gate):
    """PPO's clipped surrogate ``s``, and ``max(s, bound * A)`` where ``A < 0``.

    A token whose probability grew although its advantage is negative has no upper bound under PPO: one outlier then
    makes the whole gradient. Here its multiplier is 0 beyond ``bound``; otherwise it is that of `Clip`.

    Two papers, one function: with ``bound > 1 + high`` it equals the two-sided clip of INTELLECT-2 (``delta`` in TRL),
    ``min(min(rho, bound) * A, clip(rho, 1 - low, 1 + high) * A)``, for either sign of ``A``.

    Attributes:
        low, high: of the clip.
        bound: largest ratio of a token with a negative advantage: 3 in verl, 10 in RLEP, 4 as INTELLECT-2's ``delta``.

    Reference: dual-clip PPO, arXiv 1912.09729.
    """

    low: float = 0.2
    high: float = 0.2
    bound: float = 3.0
    arxiv: ClassVar[str] = "1912.09729"

    def __post_init__(self) -> None:
        check_width(self.low, self.high)
        if self.bound <= 1 + self.high:
            raise ValueError(f"bound must exceed 1 + high = {1 + self.high:g}, not {self.bound}")

    def __call__(self, ratio: Tensor, advantages: Tensor, logps: Tensor) -> Tensor:
        """Return ``(B, T)``."""
        return dual_clipped(ratio, advantages, 1 - self.low, 1 + self.high, self.bound)

    def closed(self, ratio: Tensor, advantages: Tensor) -> Tensor:
        """Return bool ``(B, T)``: tokens without gradient."""
        outlier = (advantages < 0) & (ratio > self.bound)
        return beyond(ratio, advantages, 1 - self.low, 1 + self.high) | outlier
