"""Whether a program printed what was expected."""

from __future__ import annotations

import re

from reward_models.verifiable.grading.comparison import close

NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
LONGEST_NUMBER = 100


def same_output(expected: str, printed: str, tolerance: float | None = None) -> bool:
    """Whether both texts have the same lines, as many, apart from blanks at line ends and empty lines at the end."""
    wanted, given = _lines(expected), _lines(printed)
    return len(wanted) == len(given) and all(
        one == other or (tolerance is not None and _same_words(one, other, tolerance))
        for one, other in zip(wanted, given, strict=True)
    )


def _lines(text: str) -> list[str]:
    return "\n".join(line.rstrip() for line in text.split("\n")).rstrip("\n").split("\n")


def _same_words(expected: str, printed: str, tolerance: float) -> bool:
    wanted, given = expected.split(), printed.split()
    return len(wanted) == len(given) and all(
        one == other or (_is_number(one) and _is_number(other) and close(float(one), float(other), tolerance))
        for one, other in zip(wanted, given, strict=True)
    )


def _is_number(word: str) -> bool:
    return len(word) <= LONGEST_NUMBER and NUMBER.fullmatch(word) is not None
