"""Focal ranking: pairs that are already well ordered count less."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import logsigmoid


@dataclass(frozen=True)
class Focal:
    """Bradley-Terry weighted by how unsure the model still is.

        L = (1 - 2 max(sigma(d) - 1/2, 0))^g * (- log sigma(d)),    d = r_w - r_l

    Wrongly ordered pairs keep weight 1. The weight carries gradient, as in the paper.

    Shape: chosen, rejected (N,) -> (N,).

    Raises:
        ValueError: a margin or soft label is given; the formula has none.

    Reference: arXiv 2403.17297, section 4.2 (g = 2).
    """

    gamma: float = 2.0

    def __call__(
        self, chosen: Tensor, rejected: Tensor, margin: Tensor | None = None, label: Tensor | None = None
    ) -> Tensor:
        """Loss of each pair."""
        if margin is not None or label is not None:
            raise ValueError("the focal loss takes neither margins nor soft labels; use bradley_terry")
        difference = chosen - rejected
        confidence = (difference.sigmoid() - 0.5).clamp(min=0.0)
        return (1.0 - 2.0 * confidence).pow(self.gamma) * -logsigmoid(difference)
