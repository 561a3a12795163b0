"""Mean over all tokens of the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from prefopt.online.aggregate.lengths import row_lengths, spread
from prefopt.online.slots import Aggregate


@dataclass(frozen=True)
class TokenMean(Aggregate):
    """``w_{i,t} = 1 / sum_j T_j``: every token counts the same, so a long completion counts more.

    Reference: DAPO, arXiv 2503.14476.
    """

    arxiv: ClassVar[str] = "2503.14476"

    def __call__(self, mask: Tensor) -> Tensor:
        """Return ``(B, T)``."""
        lengths = row_lengths(mask)
        return spread((1 / lengths.sum().clamp(min=1)).expand_as(lengths), mask)
