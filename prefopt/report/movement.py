"""Where a logged figure went: from its first to its last tenth of the steps, and whether noise explains it."""

from __future__ import annotations

from prefopt.report.series import Series
from prefopt.report.words import number


def direction(line: Series) -> str:
    """Say "rose", "fell" or "stayed level" between the first and the last tenth of the steps.

    The change counts when it exceeds two standard errors of the difference of both means, 2 s sqrt(2 / n) for n
    steps a tenth. The noise s of one step is the scatter around the moving mean over w steps, divided by
    sqrt(1 - 1 / w), because each step is a part of its own mean.
    """
    first, last = line.first_and_last()
    tenth = max(1, len(line.values) // 10)
    noise = float((line.values - line.smoothed()).std()) / (1 - 1 / line.window) ** 0.5
    if abs(last - first) <= max(2 * noise * (2 / tenth) ** 0.5, 1e-9 * max(1.0, abs(first))):
        return "stayed level"
    return "rose" if last > first else "fell"


def moved(line: Series) -> str:
    """Say where a figure began and ended."""
    first, last = line.first_and_last()
    verb = direction(line)
    return f"{verb.capitalize()}{':' if verb == 'stayed level' else ' from'} {number(first)} to {number(last)}."
