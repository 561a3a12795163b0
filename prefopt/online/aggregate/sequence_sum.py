"""Mean over sequences of the sum over their tokens."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from prefopt.online.aggregate.lengths import sequence_count, spread
from prefopt.online.slots import Aggregate


@dataclass(frozen=True)
class SequenceSum(Aggregate):
    """``w_{i,t} = 1 / B``: the unbiased policy gradient of a sequence-level reward."""

    def __call__(self, mask: Tensor) -> Tensor:
        """Return ``(B, T)``."""
        return spread((1 / sequence_count(mask)).expand(len(mask), 1), mask)
