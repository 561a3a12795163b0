"""The input of a scoring run as shards: the same ones in every process, read one at a time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reward_models.data.faults import BadRow, RowFault, bad_row
from reward_models.data.files import read_rows
from reward_models.data.quarantine import Quarantine, read_quarantine
from reward_models.errors import DataError
from reward_models.formatting import Text
from reward_models.scoring.rows import Columns
from reward_models.scoring.settings import ScoringSettings

ROWS_A_PULSE = 1000


@dataclass(frozen=True)
class ScoringRow:
    """A row, its prompts and texts to score, and a key for each, the same for the same prompt and completion.

    A bad row that is to be kept has its ``fault``, and no texts.
    """

    number: int
    row: dict[str, Any]
    texts: list[tuple[Any, Text]]
    keys: list[bytes]
    fault: BadRow | None = None


@dataclass(frozen=True)
class ScoringInput:
    """A file of rows to score, read anew in each iteration; bad rows are written to ``quarantine``."""

    source: Path
    columns: Columns
    settings: ScoringSettings
    quarantine: Quarantine

    def shards(self) -> Iterator[list[ScoringRow]]:
        """Rows in order, ``shard_rows`` texts at a time.

        A shard goes on for at most as many again until its prompt ends, since the answers to one prompt are scored
        together. Bad rows change no other row's shard, so that what is done with them may change between attempts.
        """
        size = self.settings.shard_rows
        shard: list[ScoringRow] = []
        texts, prompt = 0, None
        for row in self._rows():
            if row.fault is None:
                if texts >= size and (row.row["prompt"] != prompt or texts >= 2 * size):
                    yield shard
                    shard, texts = [], 0
                prompt = row.row["prompt"]
            shard.append(row)
            texts += len(row.texts)
        if shard:
            yield shard

    def check(self, pulse: Callable[[], None]) -> None:
        """Read all rows once, and call ``pulse`` now and then.

        Raises:
            DataError: a bad row, where bad rows are not to be left out.
        """
        for row in self._rows():
            if row.number % ROWS_A_PULSE == 0:
                pulse()

    def _rows(self) -> Iterator[ScoringRow]:
        for number, row in self._numbered():
            bad = row if isinstance(row, BadRow) else None
            if bad is None:
                try:
                    texts = self.columns.texts_of(row)
                    yield ScoringRow(number, row, texts, [_key(*text) for text in texts])
                    continue
                except RowFault as fault:
                    bad = bad_row(str(self.source), number, row, fault)
            if self.settings.on_bad_row == "null":
                kept = bad.row if isinstance(bad.row, dict) else {"unread": bad.row}
                yield ScoringRow(number, kept, [], [], bad)
            else:
                self.refuse(bad)

    def refuse(self, bad: BadRow) -> None:
        """List a bad row, or stop at it.

        Raises:
            DataError: bad rows are not to be left out.
        """
        if self.settings.on_bad_row != "quarantine":
            raise DataError(f"{bad}. Mend the row, or set on_bad_row to quarantine or null.")
        self.quarantine.add(bad)

    def _numbered(self) -> Iterable[tuple[int, Any]]:
        first = next((row for _, row in read_rows(self.source) if not isinstance(row, BadRow)), None)
        if not isinstance(first, dict) or "prompt" in first:
            return read_rows(self.source)
        from reward_models.data import load_preferences

        path = self.quarantine.path
        unread = path.with_name(path.name.replace(".quarantine.", ".unread."))
        # A row that cannot be brought to a pair has no place in the output: it is listed.
        on_bad_row = "raise" if self.settings.on_bad_row == "raise" else "quarantine"
        pairs = load_preferences(str(self.source), streaming=True, on_bad_row=on_bad_row, quarantine_path=unread)
        return self._pairs(pairs, unread)

    def _pairs(self, pairs: Iterable[Any], unread: Path) -> Iterator[tuple[int, Any]]:
        yield from ((number, dict(pair)) for number, pair in enumerate(pairs, start=1))
        if unread.exists():
            for bad in read_quarantine(unread):
                self.quarantine.add(bad)
            unread.unlink()


def _key(prompt: Any, completion: Text) -> bytes:
    return hashlib.blake2b(json.dumps([prompt, completion], default=str).encode(), digest_size=16).digest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
