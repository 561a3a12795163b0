"""Mean over sequences of the mean over their tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from prefopt.online.aggregate.lengths import row_lengths, sequence_count, spread
from prefopt.online.slots import Aggregate


@dataclass(frozen=True)
class SequenceMean(Aggregate):
    """``w_{i,t} = 1 / (B * T_i)``: every completion counts the same, so a token of a long one counts less.

    Reference: GRPO, arXiv 2402.03300.
    """

    arxiv: ClassVar[str] = "2402.03300"

    def __call__(self, mask: Tensor) -> Tensor:
        """Return ``(B, T)``."""
        return spread(1 / (sequence_count(mask) * row_lengths(mask).clamp(min=1)), mask)
