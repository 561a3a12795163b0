"""Learn from correct completions only, or from wrong ones only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.choice import check_choice
from prefopt.online.slots import Sampling

Kept = Literal["correct", "wrong"]


@dataclass(frozen=True)
class ByOutcome(Sampling):
    """Keep completions whose signal exceeds ``threshold`` (``correct``), or all others (``wrong``).

    Reference: PSR and NSR, arXiv 2506.01347.
    """

    keep: Kept = "wrong"
    threshold: float = 0.5
    arxiv: ClassVar[str] = "2506.01347"

    def __post_init__(self) -> None:
        check_choice("keep", self.keep, Kept)

    def __call__(self, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B,)`` bool; an unscored row is neither."""
        return signal > self.threshold if self.keep == "correct" else signal <= self.threshold
