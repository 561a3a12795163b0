"""What reward sources are asked about, row by row, and the error that shows a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from prefopt.errors import UserError

SHOWN = 300


class RewardSourceError(UserError):
    """A reward source failed; the message shows the example."""


class WrongRowsError(RewardSourceError):
    """A source gave another number of rows than it was asked about, or what has no rows: ``got``, in words."""

    def __init__(self, message: str, got: str) -> None:
        super().__init__(message)
        self.got = got


@dataclass(frozen=True)
class Completions:
    """A process's completions with everything that a source may read, row by row."""

    prompts: list[Any]
    completions: list[Any]
    columns: Mapping[str, list[Any]]
    context: Mapping[str, Any] = field(default_factory=dict)
    per_row: tuple[str, ...] = ("completion_ids", "environments")

    def __len__(self) -> int:
        return len(self.completions)

    def rows(self, indices: Sequence[int]) -> Completions:
        """Return some rows, in the order of ``indices``."""
        if list(indices) == list(range(len(self))):
            return self

        def chosen(values: Sequence[Any]) -> list[Any]:
            return [values[index] for index in indices]

        return replace(
            self,
            prompts=chosen(self.prompts),
            completions=chosen(self.completions),
            columns={name: chosen(values) for name, values in self.columns.items()},
            context={name: chosen(one) if name in self.per_row else one for name, one in self.context.items()},
        )

    def show(self, index: int) -> str:
        """Return a row in words."""
        lines = [f"prompt: {short(self.prompts[index])}", f"completion: {short(self.completions[index])}"]
        lines += [f"{name}: {short(values[index])}" for name, values in self.columns.items() if name != "prompt"]
        return "\n".join(f"  {line}" for line in lines)


def short(value: Any) -> str:
    """Return a value as a message shows it."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} ... ({len(text)} characters)"
