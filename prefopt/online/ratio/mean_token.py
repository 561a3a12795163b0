"""Importance ratio of a whole completion as the mean of its tokens' ratios."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from prefopt.online.slots import Ratio, masked


@dataclass(frozen=True)
class MeanTokenRatio(Ratio):
    """``w_i = mean_t exp(log pi - log pi_old)``, the arithmetic mean of the token ratios, shape ``(B, 1)``.

    Reference: GRPO-S, arXiv 2508.04349.
    """

    arxiv: ClassVar[str] = "2508.04349"
    sequence_level: ClassVar[bool] = True

    def __call__(self, logps: Tensor, old_logps: Tensor, mask: Tensor) -> Tensor:
        """Return ``(B, 1)``; 1 for a row without a token."""
        length = mask.sum(-1, keepdim=True)
        total = masked((logps - old_logps).exp(), mask).sum(-1, keepdim=True)
        return (total + (length == 0)) / length.clamp(min=1)
