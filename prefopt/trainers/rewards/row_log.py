"""What reward sources log a row by ``log_extra``, once for each row however often it was asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from prefopt.trainers.rewards.completions import Completions

LOG = "log_extra"


@dataclass
class RowLog:
    """Stands for TRL's ``log_extra(column, values)``, which wants a value for each row of the batch, once.

    Calls are for some rows, and may be repeated; the last value of a row counts, and a row without one has None.
    """

    log: Callable[[str, list[Any]], None]
    count: int
    columns: dict[str, list[Any]] = field(default_factory=dict)

    def of(self, rows: Sequence[int]) -> Callable[[str, Sequence[Any]], None]:
        """Return ``log_extra`` for a call that is about these rows."""

        def log_extra(column: str, values: Sequence[Any]) -> None:
            if len(values) != len(rows):
                raise ValueError(f"log_extra: column '{column}' got {len(values)} values for {len(rows)} completions")
            own = self.columns.setdefault(column, [None] * self.count)
            for row, value in zip(rows, values, strict=True):
                own[row] = value

        return log_extra

    def flush(self) -> None:
        """Log all columns, whole."""
        # A call that was left behind may add a column meanwhile.
        for column, values in list(self.columns.items()):
            self.log(column, values)


def with_row_log(batch: Completions) -> tuple[Completions, RowLog | None]:
    """Return a batch whose ``log_extra``, where it has one, is a `RowLog`; and that."""
    if LOG not in batch.context:
        return batch, None
    log = RowLog(batch.context[LOG], len(batch))
    return replace(batch, context={**batch.context, LOG: log}), log


def for_call(batch: Completions, rows: Sequence[int]) -> Completions:
    """Return the rows of a call, with a ``log_extra`` for them."""
    part = batch.rows(rows)
    log = part.context.get(LOG)
    return replace(part, context={**part.context, LOG: log.of(rows)}) if isinstance(log, RowLog) else part
