"""From a program's row of verdicts to its score. None in a row is a test that could not be judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

Row = Sequence[bool | None]


def strict(row: Row) -> float | None:
    """1 if every test passes, 0 as soon as one fails; None where the tests that were judged pass and some were not."""
    if any(cell is False for cell in row):
        return 0.0
    return 1.0 if row and all(row) else None


def fraction(row: Row) -> float | None:
    """Share of the tests that pass; None unless all were judged, for the rest may be the hard ones."""
    return sum(map(bool, row)) / len(row) if row and None not in row else None


def strict_plus_tenth(row: Row) -> float | None:
    """``strict + 0.1 * fraction``; None unless all tests were judged."""
    share = fraction(row)
    return None if share is None else float(share == 1) + 0.1 * share


SCORES: Mapping[str, Callable[[Row], float | None]] = {
    "strict": strict,
    "fraction": fraction,
    "strict_plus_tenth": strict_plus_tenth,
}
