"""Sum over tokens divided by a constant length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from prefopt.online.aggregate.lengths import row_lengths, sequence_count, spread
from prefopt.online.slots import Aggregate


@dataclass(frozen=True)
class ConstantLength(Aggregate):
    """``w_{i,t} = 1 / (B * max_length)``: no completion is favoured for its length, in either direction.

    Attributes:
        max_length: longest completion that can be generated. The trainer fills it in. None takes the longest of the
            batch, which makes the scale differ from batch to batch.

    Reference: Dr. GRPO, arXiv 2503.20783.
    """

    max_length: int | None = None
    arxiv: ClassVar[str] = "2503.20783"

    def __call__(self, mask: Tensor) -> Tensor:
        """Return ``(B, T)``."""
        lengths = row_lengths(mask)
        longest = self.max_length or lengths.max().clamp(min=1)
        return spread((1 / (sequence_count(mask) * longest)).expand_as(lengths), mask)
