"""Leave out completions that were cut at the length limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.slots import Sampling


@dataclass(frozen=True)
class FinishedCompletions(Sampling):
    """Keep completions that ended by themselves: what a cut one is worth is not known.

    They still count in the group's baseline, which is taken before.

    Reference: overlong filtering of DAPO, arXiv 2503.14476.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"truncated"})
    arxiv: ClassVar[str] = "2503.14476"

    def __call__(self, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B,)`` bool."""
        return ~rollouts.extras["truncated"].bool()
