"""REINFORCE with a capped importance weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from prefopt.online.slots import Gate


@dataclass(frozen=True)
class CISPO(Gate):
    """``sg[min(rho, cap)] * A * log pi``: the weight is capped and carries no gradient, so no token is ever silenced.

    The gradient multiplier is ``min(rho, cap)``.

    Attributes:
        cap: upper bound of the ratio itself (not of ``rho - 1``).

    Reference: CISPO in MiniMax-M1, arXiv 2506.13585.
    """

    cap: float = 5.0
    arxiv: ClassVar[str] = "2506.13585"

    def __post_init__(self) -> None:
        if self.cap <= 0:
            raise ValueError(f"cap bounds the ratio itself and must be positive, not {self.cap}")

    def __call__(self, ratio: Tensor, advantages: Tensor, logps: Tensor) -> Tensor:
        """Return ``(B, T)``."""
        return ratio.detach().clamp(max=self.cap) * advantages * logps

    def closed(self, ratio: Tensor, advantages: Tensor) -> Tensor:
        """Return bool ``(B, T)``: tokens whose weight is capped."""
        return (ratio > self.cap).expand(torch.broadcast_shapes(ratio.shape, advantages.shape))
