"""Counts of a scoring run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Progress = Callable[[int], None]


def silent(rows: int) -> None:
    """Show nothing."""


def still() -> None:
    """Tell nobody that there was progress."""


@dataclass
class ScoringReport:
    """Counts of one run.

    ``scored`` are forward passes' rows, ``reused`` texts whose score was known already, ``damaged`` texts of which what
    an earlier attempt kept was no longer as it was written, ``unscored`` texts that the model gives no score for.
    """

    rows: int = 0
    resumed_rows: int = 0
    scored: int = 0
    reused: int = 0
    truncated: int = 0
    quarantined: int = 0
    not_finite: int = 0
    unscored: int = 0
    damaged: int = 0
    tokens: int = 0


SUMMED = ("resumed_rows", "scored", "damaged", "tokens")
