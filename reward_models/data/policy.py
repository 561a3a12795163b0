"""What happens to bad rows: they stop the load, or go to quarantine up to a ceiling."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass

from reward_models.data.faults import REASONS, BadRow
from reward_models.data.quarantine import Quarantine
from reward_models.data.tally import Tally
from reward_models.data.validation import GoodRow, Result
from reward_models.errors import DataError

LOG = logging.getLogger(__name__)
CEILING, ALWAYS_ALLOWED = 0.1, 10
SHOWN = 5


@dataclass(frozen=True)
class BadRowPolicy:
    """``on_bad_row`` is "raise", "quarantine" or "count".

    Attributes:
        quarantine: required by "quarantine"; "count" writes only where it is given.
        max_bad_fraction: with "quarantine", more bad rows are an error. None allows a tenth, and always ten rows, for a
            fraction of a few rows says little.
        immediately: "raise" stops at the first bad row rather than after all have been read.
    """

    on_bad_row: str
    quarantine: Quarantine | None = None
    max_bad_fraction: float | None = None
    immediately: bool = False

    def __call__(self, results: Iterable[Result], tally: Tally) -> Iterator[GoodRow]:
        """The good rows; bad ones are counted, written, and at the end held against the ceiling."""
        with self.quarantine or nullcontext():
            for result in results:
                tally.rows += 1
                if isinstance(result, GoodRow):
                    tally.good += 1
                    yield result
                    continue
                tally.add_bad(result)
                self._take(result)
        self._judge(tally)

    def _take(self, row: BadRow) -> None:
        if self.on_bad_row == "raise" and self.immediately:
            raise DataError(f"{row}. {_fix(row)}")
        if self.quarantine is not None and self.on_bad_row != "raise":
            self.quarantine.add(row)

    def _judge(self, tally: Tally) -> None:
        count = sum(tally.bad.values())
        if not count or self.on_bad_row == "count":
            return
        if self.on_bad_row == "raise":
            raise DataError(f"{_summary(tally)}\n{_examples(tally)}\nOr load with on_bad_row='quarantine'.")
        allowed = max(ALWAYS_ALLOWED, CEILING * tally.rows)
        if self.max_bad_fraction is not None:
            allowed = self.max_bad_fraction * tally.rows
        where = f"They are in {self.quarantine.path}." if self.quarantine else ""
        if count > allowed:
            limit = f"more than the {allowed:g} that max_bad_fraction allows"
            raise DataError(f"{_summary(tally)}, {limit}. {where}\n{_examples(tally)}")
        LOG.warning("%s. %s", _summary(tally), where)


def _summary(tally: Tally) -> str:
    reasons = ", ".join(f"{reason} {count}" for reason, count in tally.bad.most_common())
    count = sum(tally.bad.values())
    return f"{count} of {tally.rows} row{'s' if tally.rows != 1 else ''} cannot be used ({reasons})"


def _examples(tally: Tally) -> str:
    shown = [f"  {row}" for row in tally.bad_rows[:SHOWN]]
    rest = sum(tally.bad.values()) - len(shown)
    fixes = [f"  {reason}: {REASONS[reason]}" for reason in tally.bad]
    return "\n".join([*shown, *([f"  and {rest} more"] if rest > 0 else []), "What to do:", *fixes])


def _fix(row: BadRow) -> str:
    return f"What to do: {REASONS[row.reason]}; or load with on_bad_row='quarantine'."
