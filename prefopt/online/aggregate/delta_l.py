"""Minimum-variance weights for completions of different length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from prefopt.online.aggregate.lengths import row_lengths, sequence_count, spread
from prefopt.online.slots import Aggregate


@dataclass(frozen=True)
class DeltaL(Aggregate):
    """``w_{i,t} = u_i / (B * max_length)`` with ``u_i = T_i^-alpha / mean_j T_j^-alpha``.

    The gradient of a completion (a sum over its tokens) has a variance of about ``V * T_i``; among the combinations
    that are unbiased up to scale, ``alpha = 1`` has the least variance. A smaller alpha gives long completions more
    say; ``alpha = 0`` is Dr. GRPO's constant length. The weights do not keep a group's advantages centred.

    Attributes:
        alpha: 0.75 (mathematics) or 1.0 (countdown) in the paper.
        max_length: longest completion that can be generated. The trainer fills it in; None takes the longest of
        the batch.

    Reference: Delta L normalisation (v2: VL Norm), arXiv 2509.07558.
    """

    alpha: float = 0.75
    max_length: int | None = None
    arxiv: ClassVar[str] = "2509.07558"

    def __call__(self, mask: Tensor) -> Tensor:
        """Return ``(B, T)``."""
        lengths = row_lengths(mask)
        powers = (lengths.clamp(min=1) ** -self.alpha) * (lengths > 0)
        count = sequence_count(mask)
        relative = powers / (powers.sum() / count).clamp(min=1e-300)
        longest = self.max_length or lengths.max().clamp(min=1)
        return spread(relative / (count * longest), mask)
