"""Keep prompts that are neither solved nor hopeless."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.slots import Sampling


@dataclass(frozen=True)
class SolveRateBand(Sampling):
    """Keep rows of prompts whose solve rate, measured beforehand with some policy, lies in ``[low, high]``.

    The filter saves most where it is applied to the data, before anything is sampled.

    Reference: offline filter of INTELLECT-2, arXiv 2505.07291.
    """

    low: float = 0.1
    high: float = 0.8
    needs: ClassVar[frozenset[str]] = frozenset({"prompt_solve_rate"})
    arxiv: ClassVar[str] = "2505.07291"

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high <= 1:
            raise ValueError(f"solve rates need 0 <= low <= high <= 1, not low = {self.low}, high = {self.high}")

    def __call__(self, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B,)`` bool."""
        rate = rollouts.extras["prompt_solve_rate"]
        return (rate >= self.low) & (rate <= self.high)
