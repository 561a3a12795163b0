"""Centring: a reward model's mean score is pulled to zero."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Centring:
    """Penalty on the sum of a pair's scores, ``c (r_w + r_l)^2``.

    Bradley-Terry fixes scores up to an offset per prompt; this picks the offset at which a pair's scores sum to zero.

    Shape: chosen, rejected (N,) -> (N,).

    Reference: arXiv 2312.09244, equation 2 (c = 0.01).
    """

    coefficient: float = 0.01

    def __post_init__(self) -> None:
        if self.coefficient < 0.0:
            raise ValueError(f"the centring coefficient must not be negative, got {self.coefficient}")

    def __call__(self, chosen: Tensor, rejected: Tensor) -> Tensor:
        """Penalty of each pair."""
        return self.coefficient * (chosen + rejected).square()
