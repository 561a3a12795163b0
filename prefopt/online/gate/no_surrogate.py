"""No token surrogate at all."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from prefopt.online.slots import Gate


@dataclass(frozen=True)
class NoSurrogate(Gate):
    """``0``: for a method whose whole loss is a term over groups or a regulariser."""

    def __call__(self, ratio: Tensor, advantages: Tensor, logps: Tensor) -> Tensor:
        """Return zeros ``(B, T)``."""
        return torch.zeros_like(logps)
