"""Rao-Kupper: Bradley-Terry with ties."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


@dataclass(frozen=True)
class RaoKupper:
    """Negative log-likelihood of win, loss or tie, where answers closer than ``log theta`` are hard to tell apart.

        P(w > l) = sigma(d - log theta)
        P(l > w) = sigma(-d - log theta)
        P(tie)   = (theta^2 - 1) sigma(d - log theta) sigma(-d - log theta),    d = r_w - r_l

    The three sum to one. A win is Bradley-Terry with the constant margin ``log theta``; at equal scores a tie has
    probability ``(theta - 1) / (theta + 1)``, one half at the default. The label says which of them was seen:
    1 win (also where absent), 1/2 tie, 0 loss; between them it mixes its two neighbours linearly.

    Shape: chosen, rejected, label (N,) -> (N,).

    Raises:
        ValueError: theta <= 1, or a margin is given (the threshold is the margin).

    Reference: Rao and Kupper, 1967 (JASA 62:194); for reward models arXiv 2410.05328; theta = 3: arXiv 2409.17431.
    """

    theta: float = 3.0

    def __post_init__(self) -> None:
        if not self.theta > 1.0:
            raise ValueError(f"theta must be greater than 1 (1 leaves no room for ties), got {self.theta}")

    def __call__(
        self, chosen: Tensor, rejected: Tensor, margin: Tensor | None = None, label: Tensor | None = None
    ) -> Tensor:
        """Loss of each pair."""
        if margin is not None:
            raise ValueError("Rao-Kupper takes no margin, its threshold log(theta) is one; use bradley_terry")
        difference = chosen - rejected
        threshold = math.log(self.theta)
        won = logsigmoid(difference - threshold)
        if label is None:
            return -won
        lost = logsigmoid(-difference - threshold)
        tied = math.log(math.expm1(2.0 * threshold)) + won + lost
        toward = 2.0 * label - 1.0
        zero = torch.zeros_like(toward)
        return -(torch.maximum(toward, zero) * won + torch.maximum(-toward, zero) * lost + (1.0 - toward.abs()) * tied)
