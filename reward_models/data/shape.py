"""A shape: the columns that a known kind of data set has, and what its rows mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reward_models.data.examples import Example, Row

PROMPT_NAMES = ("prompt", "question", "instruction", "input", "query", "context", "conversations", "conversation")


def any_row(row: Row) -> bool:
    """Accept every row."""
    return True


@dataclass(frozen=True)
class Shape:
    """A recogniser.

    Attributes:
        name: as reports print it.
        columns: all must be there.
        convert: the examples that one row holds; raises `RowFault` where the row is damaged.
        fits: tells shapes with the same columns apart by the kind of their values.
        without: none may be there.
        silence: an answer may be without words: people judged a turn in which the assistant said nothing.
        joins_rows: consecutive rows with the same prompt are answers to one prompt.
    """

    name: str
    columns: Sequence[str]
    convert: Callable[[Row], list[Example]]
    fits: Callable[[Row], bool] = any_row
    without: Sequence[str] = ()
    silence: bool = False
    joins_rows: bool = False
