"""How many steps were taken and how many skipped, for means over the steps of a log line."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class StepCounts:
    """Counts of a run.

    Attributes:
        skipped: steps that were not taken. consecutive: the last so many in a row.
        logged: number of the step of the last log line, and what ``skipped`` was then. begun: the same of the start.
    """

    skipped: int = 0
    consecutive: int = 0
    logged: tuple[int, int] = (0, 0)
    begun: tuple[int, int] = (0, 0)

    def begin(self, step: int, goes_on: bool) -> None:
        """A run begins after ``step``; it ``goes_on`` where these counts came from its checkpoint."""
        if not goes_on:
            self.skipped, self.consecutive, self.logged = 0, 0, (step, 0)
        self.begun = (step, self.skipped)

    def skip(self) -> None:
        """Another step is not taken."""
        self.skipped += 1
        self.consecutive += 1

    def mean_of_taken(self, mean: float, step: int, whole_run: bool = False) -> float:
        """Return a mean over steps as that over those that were taken, NaN for none.

        Args:
            mean: over the steps since the last call, or since the start; skipped ones have given it nothing.
            step: number of the last one.
            whole_run: since the start.
        """
        first, skipped_before = self.begun if whole_run else self.logged
        if not whole_run:
            self.logged = (step, self.skipped)
        steps, skipped = step - first, self.skipped - skipped_before
        if not skipped:
            return mean
        return mean * steps / (steps - skipped) if steps > skipped else math.nan

    def as_json(self) -> list[int]:
        """Return what a checkpoint keeps."""
        return [self.skipped, self.consecutive, *self.logged]

    def restore(self, kept: list[int]) -> None:
        """Take what `as_json` gave."""
        self.skipped, self.consecutive = kept[:2]
        self.logged = (kept[2], kept[3])
        self.begun = (self.begun[0], self.skipped)
