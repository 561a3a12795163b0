"""The geometric mean of a completion's clamped ratios."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from prefopt.online.slots import Gate, masked


@dataclass(frozen=True)
class GeometricMean(Gate):
    """``A * exp(mean_t c_t)`` on every token of a completion, ``c_t`` being the token's clamped log-ratio ``d_t``::

        c_t = min(d_t, high)  where A > 0        c_t = max(d_t, -low)  elsewhere

    The geometric mean of the ratios is less moved by an outlier than their mean. The clamp is one-sided, as in PPO:
    a token that has already moved far enough in the wanted direction gets no gradient, the others share the row's.
    Gradient multiplier of a token: ``exp(mean c) / T_i`` where it is not clamped, else 0.

    Attributes:
        low, high: bounds of the log-ratio, not of the ratio.

    Reference: GMPO, arXiv 2507.20673.
    """

    low: float = 0.4
    high: float = 0.4
    arxiv: ClassVar[str] = "2507.20673"
    whole_rows: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if min(self.low, self.high) < 0:
            raise ValueError(f"bounds of the log-ratio are not negative, unlike low = {self.low}, high = {self.high}")

    def __call__(self, ratio: Tensor, advantages: Tensor, logps: Tensor, *, mask: Tensor) -> Tensor:
        """Return ``(B, T)``; ``mask`` ``(B, T)``."""
        log_ratio = ratio.clamp(min=torch.finfo(ratio.dtype).tiny).log()
        clamped = torch.where(advantages > 0, log_ratio.clamp(max=self.high), log_ratio.clamp(min=-self.low))
        mean = masked(clamped, mask).sum(-1, keepdim=True) / mask.sum(-1, keepdim=True).clamp(min=1)
        return advantages * mean.exp()

    def closed(self, ratio: Tensor, advantages: Tensor, *, mask: Tensor) -> Tensor:
        """Return bool ``(B, T)``: clamped tokens."""
        log_ratio = ratio.log()
        return ((advantages > 0) & (log_ratio > self.high)) | ((advantages < 0) & (log_ratio < -self.low))
