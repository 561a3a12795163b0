"""Mean over the tokens after the point from which completions diverge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.aggregate.token_mean import TokenMean
from prefopt.online.slots import Aggregate


@dataclass(frozen=True)
class PivotalMean(Aggregate):
    """``w_{i,t} = 1 / ((1 + tau) n)`` on the batch's n tokens of turns from ``retry_from_step`` on, 0 before.

    A retry and the attempt that it retries share what comes before; nothing there told them apart.

    Attributes:
        tau: of the division.

    Reference: R3L, arXiv 2601.03715.
    """

    tau: float = 1.0
    needs: ClassVar[frozenset[str]] = frozenset({"turn_ids", "retry_from_step"})
    arxiv: ClassVar[str] = "2601.03715"
    reads_rollouts: ClassVar[bool] = True

    def __call__(self, mask: Tensor, *_: Any, rollouts: Rollouts) -> Tensor:
        """Return ``(B, T)``."""
        diverged = rollouts.extras["turn_ids"] >= rollouts.extras["retry_from_step"].long()[:, None]
        return TokenMean()(mask & diverged) / (1 + self.tau)
