"""Inputs that the user supplies: a column of the data, or a function of prompts and completions."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from prefopt.batch import NEEDS
from prefopt.trainers.rewards.scores import Completions, RewardSourceError, WrongRowsError, answer_of
from prefopt.trainers.rewards.source import RewardSource

IDENTITIES = frozenset({"turn_states", "resampled_answers"})
INTEGERS = (
    frozenset({"step_ids", "turn_ids", "token_ids", "levels", "retry_from_step", "hint_length", "weight_lag"})
    | {"tasks", "task_quota", "batch_quota"}
    | IDENTITIES
)
TRUTHS = frozenset({"truncated", "from_expert", "from_replay"})
SHAPES = ("(B,)", "(B, S)", "(B, M)", "(B, K)", "(B, T)", "(B, S, M)", "(P,)")


@dataclass(frozen=True)
class UserInput:
    """One input of the objective.

    Attributes:
        name: in ``NEEDS``.
        column: of the data, where the values stand ready.
        source: otherwise, what computes them.
    """

    name: str
    column: str = ""
    source: RewardSource | None = None

    def columns(self) -> dict[str, str]:
        """Return the columns of the data that are read, by what wants them."""
        if self.source is None:
            return {self.name: self.column}
        wanted = self.source.required_columns()
        return {parameter: column for parameter, column in wanted.items() if parameter != "steps"}

    def __call__(self, batch: Completions, lengths: Sequence[int]) -> Tensor:
        """Return the input of a process's completions, of the shape that it is declared with.

        Shape: one number, list, or list of lists a completion -> ``(B,)``, ``(B, S)``, ``(B, S, M)``; lists that are
        shorter than others are filled with NaN, or 0 where the input is an integer. A list of a number a token must
        have as many as the completion has tokens, ``lengths``.

        Raises:
            RewardSourceError: the function failed, or what it gave has another shape or type.
        """
        try:
            rows = batch.columns.get(self.column) if self.source is None else answer_of(self.source, batch)
        except WrongRowsError as error:
            message = f"inputs: '{self.name}' got {error.got}, expected {len(batch)} values, one a completion"
            raise RewardSourceError(message) from error
        if rows is None:
            raise RewardSourceError(
                f"inputs: '{self.name}' reads the column '{self.column}', which the rows do not have"
            )
        nested = [self._read(row, len(self._lists), batch, i) for i, row in enumerate(rows)]
        if "T" in self._lists:
            for i, (row, length) in enumerate(zip(nested, lengths, strict=True)):
                if len(row) != length:
                    raise RewardSourceError(
                        f"inputs: '{self.name}' got {len(row)} values for a completion of {length} tokens; give one a "
                        f"token, as in `completion_ids`\n{batch.show(i)}"
                    )
        return self._stack(nested)

    @property
    def _lists(self) -> list[str]:
        """Letters of the shape behind the first: how deep the lists of a completion are nested."""
        return [letter.strip() for letter in NEEDS[self.name].shape.strip("()").split(",")[1:] if letter.strip()]

    def _read(self, value: Any, depth: int, batch: Completions, row: int) -> Any:
        if isinstance(value, Tensor):
            value = value.tolist()
        if depth == 0:
            return self._number(value, batch, row)
        if value is None:
            return []
        if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
            raise RewardSourceError(
                f"inputs: '{self.name}' is a list for each completion, {NEEDS[self.name].shape}, and got "
                f"{value!r}\n{batch.show(row)}"
            )
        return [self._read(one, depth - 1, batch, row) for one in value]

    def _number(self, value: Any, batch: Completions, row: int) -> float | int:
        if self.name in IDENTITIES:
            return identity(value)
        whole = self.name in INTEGERS | TRUTHS
        if value is None and not whole:
            return math.nan
        try:
            if isinstance(value, (str, bytes)) or (whole and int(value) != value):
                raise TypeError
            found = int(value) if whole else float(value)
        except (TypeError, ValueError, OverflowError):
            kind = "an integer" if self.name in INTEGERS else "true or false" if whole else "a number"
            raise RewardSourceError(f"inputs: '{self.name}' is {kind} and got {value!r}\n{batch.show(row)}") from None
        if math.isinf(found):
            raise RewardSourceError(f"inputs: '{self.name}' is infinite; what is not known is None\n{batch.show(row)}")
        return found

    def _stack(self, rows: list[Any]) -> Tensor:
        filler: float | int = 0 if self.name in INTEGERS | TRUTHS or "T" in self._lists else math.nan
        sizes, level = [], rows
        for _ in self._lists:
            sizes.append(max([1, *map(len, level)]))
            level = [inner for one in level for inner in one]
        filled = torch.tensor([_filled(row, sizes, filler) for row in rows])
        if self.name in TRUTHS:
            return filled.bool()
        return filled.long() if self.name in INTEGERS else filled.float()


def identity(value: Any) -> int:
    """Return an integer that is the same for equal values on every process; integers are themselves, None is 0."""
    if value is None:
        return 0
    if isinstance(value, int):
        return value
    digest = hashlib.blake2b(repr(value).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def _filled(row: Any, sizes: Sequence[int], filler: float) -> Any:
    if not sizes:
        return row
    blank: Any = filler
    for size in reversed(sizes[1:]):
        blank = [blank] * size
    return [*(_filled(one, sizes[1:], filler) for one in row), *[blank] * (sizes[0] - len(row))]
