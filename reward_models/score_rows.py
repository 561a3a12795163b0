"""What there is to score in a row, and where its scores go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reward_models.data.faults import RowFault
from reward_models.errors import DataError
from reward_models.formatting import Text

SINGLE = ("completion", "response")
SEVERAL = ("completions", "responses")
PAIR = ("chosen", "rejected")
SHAPES = "prompt with completion (or response), with completions (or responses), or with chosen and rejected"


@dataclass(frozen=True)
class Columns:
    """Names of the score columns: the heads' names after ``prefix``.

    A row with ``completion`` gets a number per head, with ``completions`` a list, with ``chosen`` and ``rejected``
    two columns that end in ``_chosen`` and ``_rejected``.
    """

    heads: tuple[str, ...]
    prefix: str = ""

    def completions_of(self, row: Mapping[str, Any]) -> list[Text]:
        """The texts of a row to score, in order.

        Raises:
            RowFault: a missing field, a wrong type, or a column that the scores would overwrite.
        """
        if not isinstance(row, Mapping):
            raise RowFault("not_an_object", "row", f"found {type(row).__name__}")
        _text(row, "prompt")
        found = self._found(row)
        for name in self.names_for(row):
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

    def with_scores(self, row: Mapping[str, Any], scores: list[list[float | None]]) -> dict[str, Any]:
        """The row and its scores, ``scores[i][k]`` for completion i and head k."""
        found = self._found(row)
        columns: list[Any] = []
        for k in range(len(self.heads)):
            values = [score[k] for score in scores]
            columns += values if found == "pair" else [values if found in SEVERAL else values[0]]
        return {**row, **dict(zip(self.names_for(row), columns, strict=True))}

    def names_for(self, row: Mapping[str, Any]) -> list[str]:
        """The columns that this row's scores go to."""
        ends = ["_chosen", "_rejected"] if self._found(row) == "pair" else [""]
        return [f"{self.prefix}{head}{end}" for head in self.heads for end in ends]

    @staticmethod
    def _found(row: Mapping[str, Any]) -> str:
        if all(name in row for name in PAIR):
            return "pair"
        for name in (*SEVERAL, *SINGLE):
            if name in row:
                return name
        raise RowFault("missing_field", "completion", f"found columns {', '.join(row)}; score takes {SHAPES}")


def _text(row: Mapping[str, Any], name: str) -> Text:
    value = row.get(name)
    if value is None:
        raise RowFault("missing_field", name, "absent or null")
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(m, Mapping) and "content" in m for m in value):
        return [dict(message) for message in value]
    raise RowFault("wrong_type", name, f"expected text or a list of messages, found {type(value).__name__}")
