"""What there is to score in a row, and where its scores go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

from reward_models.data.faults import RowFault
from reward_models.errors import DataError
from reward_models.formatting import Text
from reward_models.groupwise import win_rates_of_odds
from reward_models.reference import Referenced, ReferenceLayout
from reward_models.steps import is_steps

SINGLE = ("completion", "response")
SEVERAL = ("completions", "responses")
PAIR = ("chosen", "rejected")
STEPS = "steps"
SHAPES = "prompt with completion (or response, or steps), with completions (or responses), or with chosen and rejected"


@dataclass(frozen=True)
class Columns:
    """Names of the score columns: the heads' names after ``prefix``.

    A row with ``completion`` gets a number per head, with ``completions`` a list, with ``chosen`` and ``rejected``
    two columns that end in ``_chosen`` and ``_rejected``. With a ``layout`` that compares with a reference, a row also
    has ``reference``; with one that compares with the others, each answer of a row is read beside each other one, and
    its number is the share of these comparisons that it wins. A model that scores ``steps`` adds, for each of these
    columns, one that ends in ``_steps`` with the list of the steps' scores.
    """

    heads: tuple[str, ...]
    prefix: str = ""
    layout: ReferenceLayout | None = None
    steps: bool = False

    def texts_of(self, row: Mapping[str, Any]) -> list[tuple[Any, Text]]:
        """What goes through the model: prompts and completions, in order.

        Raises:
            RowFault: as `completions_of` does, and a row without what its answers are compared with.
        """
        answers = self.completions_of(row)
        if self.layout is None:
            return [(row["prompt"], answer) for answer in answers]
        if self.layout.against == "reference":
            return [(Referenced(row["prompt"], _text(row, "reference")), answer) for answer in answers]
        if len(answers) < 2:
            raise RowFault("missing_field", "completions", "this model compares answers: give two or more in a row")
        return [(Referenced(row["prompt"], answers[i]), answers[j]) for i, j in permutations(range(len(answers)), 2)]

    def completions_of(self, row: Mapping[str, Any]) -> list[Text]:
        """The texts of a row to score, in order.

        Raises:
            RowFault: a missing field, a wrong type, or a column that the scores would overwrite.
        """
        if not isinstance(row, Mapping):
            raise RowFault("not_an_object", "row", f"found {type(row).__name__}")
        _text(row, "prompt")
        found = self._found(row)
        for name in (*self.names_for(row), self.reason_column):
            if name in row:
                raise DataError(f"the data has a column '{name}' already; choose a prefix for the scores' columns")
        if found == "pair":
            return [_text(row, name) for name in PAIR]
        if found in SEVERAL:
            answers = row[found]
            if not isinstance(answers, Sequence) or isinstance(answers, str):
                raise RowFault("wrong_type", found, f"expected a list of answers, found {type(answers).__name__}")
            return [_text({f"{found}[{i}]": answer}, f"{found}[{i}]") for i, answer in enumerate(answers)]
        return [_text(row, found)]

    @property
    def reason_column(self) -> str:
        """Where it stands why a score is null; only rows that have such a score have it."""
        return f"{self.prefix}unscored"

    def without_scores(self, row: Mapping[str, Any], reason: str) -> dict[str, Any]:
        """A row that cannot be read, with null for every head."""
        try:
            names = self.names_for(row)
        except RowFault:
            names = [f"{self.prefix}{head}" for head in self.heads]
        return {**row, **dict.fromkeys(names), self.reason_column: reason}

    def with_scores(self, row: Mapping[str, Any], scores: list[list[float | None]]) -> dict[str, Any]:
        """The row and its scores, ``scores[i][k]`` for text i and head k; behind them those of its steps, all heads."""
        found = self._found(row)
        if self.layout is not None and self.layout.against == "others":
            count = len(self.completions_of(row))
            rates = [win_rates_of_odds(count, [score[k] for score in scores]) for k in range(len(self.heads))]
            scores = [[rate[i] for rate in rates] for i in range(count)]
        columns: list[Any] = []
        heads = len(self.heads)
        for k in range(heads):
            both: list[list[Any]] = [[score[k] for score in scores]]
            if self.steps:
                both.append([score[heads + k :: heads] for score in scores])
            for values in both:
                columns += values if found == "pair" else [values if found in SEVERAL else values[0]]
        return {**row, **dict(zip(self.names_for(row), columns, strict=True))}

    def names_for(self, row: Mapping[str, Any]) -> list[str]:
        """The columns that this row's scores go to; `reason_column` is another."""
        ends = ["_chosen", "_rejected"] if self._found(row) == "pair" else [""]
        kinds = ["", "_steps"] if self.steps else [""]
        return [f"{self.prefix}{head}{kind}{end}" for head in self.heads for kind in kinds for end in ends]

    @staticmethod
    def _found(row: Mapping[str, Any]) -> str:
        if all(name in row for name in PAIR):
            return "pair"
        for name in (*SEVERAL, *SINGLE, STEPS):
            if name in row:
                return name
        raise RowFault("missing_field", "completion", f"found columns {', '.join(row)}; score takes {SHAPES}")


def _text(row: Mapping[str, Any], name: str) -> Any:
    value = row.get(name)
    if value is None:
        raise RowFault("missing_field", name, "absent or null")
    if isinstance(value, str):
        return _checked(value, name)
    if isinstance(value, list) and value and all(isinstance(m, Mapping) and "content" in m for m in value):
        return [dict(message) for message in value if _checked(message["content"], name) is not None]
    if name == STEPS and is_steps(value):
        return [_checked(str(step), name) for step in value]
    raise RowFault("wrong_type", name, f"expected text or a list of messages, found {type(value).__name__}")


def _checked(value: Any, name: str) -> Any:
    if not isinstance(value, str):
        raise RowFault("wrong_type", name, f"a message's content must be text, found {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise RowFault("invalid_unicode", name, "half of a surrogate pair") from None
    return value
