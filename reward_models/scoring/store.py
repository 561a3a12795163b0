"""What a scoring run keeps on disk, so that it can be killed at any moment and go on."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Any

from torch import Tensor

from reward_models.disk_faults import disk_faults
from reward_models.errors import DataError
from reward_models.scoring.manifest import fingerprint, sealed, unsealed
from reward_models.scoring.parts import remove_part
from reward_models.scoring.records import COLUMNS, TABLES, Kept, kept_of, row_of

MAGIC = b"SQLite format 3\0"
KEYS_A_QUERY = 500
SECONDS_TO_KEEP = 1.0
BEGIN = "Nothing is scored yet; mend this and run the same command again."
GO_ON = "What is scored is kept; mend this and run the same command again to go on."


class ScoreStore:
    """The file of one part (SQLite): all texts of the input with their first shard, and the scores of the part's own.

    A text belongs to the first shard that it occurs in, whatever process asks: each is scored once, and in the same
    batch, in any number of processes, which need not talk to each other.
    Every text has a hash of all that is kept of it. What does not agree with its hash counts as absent; so does what a
    broken file no longer gives. Both are taken in anew, and ``damaged`` counts them.
    """

    def __init__(self, path: Path, manifest: dict[str, Any] | None = None, donors: Sequence[Path] = ()) -> None:
        """Open a file, or make it where a manifest is given; what it lacks is looked for in the ``donors``."""
        self.path = path
        self.damaged = 0
        if manifest is None and not path.exists():
            raise DataError(f"{path} is missing: score that part first, with the same input, model and settings")
        belongs = manifest if manifest is not None else manifest_of(path) if sound(path) else {}
        if not belongs:
            raise DataError(f"{path} is damaged; run that part again: what can still be read of it is kept")
        self._belongs = fingerprint(belongs)
        self._donors: list[sqlite3.Connection] = []
        new = not path.exists() or not path.stat().st_size
        with disk_faults(path, lambda: BEGIN if new and not donors else GO_ON):
            self._file = sqlite3.connect(path, timeout=60)
            self._kept = monotonic()
            if manifest is not None and new:
                self._file.executescript(f"BEGIN;{TABLES}COMMIT;")
            if manifest is not None:
                self._say("manifest", sealed(manifest))
                self._donors = [sqlite3.connect(file) for file in donors]

    @property
    def manifest(self) -> dict[str, Any]:
        """What the scores belong to."""
        return _manifest(self._file)

    @property
    def complete(self) -> bool:
        """Whether every shard of the part is done."""
        return _about(self._file, "complete") is not None

    def finish(self) -> None:
        """Say that every shard of the part is done."""
        with self._faults():
            self._say("complete", "yes")

    def take(self, shard: int, keys: Sequence[bytes]) -> dict[bytes, Kept]:
        """Take in a shard's texts, and return what is kept of them; shards come in order."""
        with self._faults():
            found = self.known(keys)
            absent = [key for key in dict.fromkeys(keys) if key not in found]
            if absent:
                found |= self._from_donors(shard, absent)
                rows = [row_of(key, found.setdefault(key, Kept(shard)), self._belongs) for key in absent]
                self._file.executemany("INSERT OR REPLACE INTO texts VALUES (?, ?, ?, ?, ?, ?)", rows)
                self._keep()
        return found

    def known(self, keys: Sequence[bytes]) -> dict[bytes, Kept]:
        """What is kept of those keys that were taken in and are as they were."""
        with self._faults():
            return self._read(self._file, keys)

    def remember(self, shard: int, keys: Sequence[bytes], values: Sequence[Tensor | str], cut: Sequence[bool]) -> None:
        """Keep K scores, or the reason why there are none, under each key; a kill loses the last second's at most."""
        kept = [
            Kept(shard, None, was_cut, value) if isinstance(value, str) else Kept(shard, value.tolist(), was_cut)
            for value, was_cut in zip(values, cut, strict=True)
        ]
        rows = [row_of(key, one, self._belongs) for key, one in zip(keys, kept, strict=True)]
        with self._faults():
            self._file.executemany("INSERT OR REPLACE INTO texts VALUES (?, ?, ?, ?, ?, ?)", rows)
            self._keep()

    def settled(self) -> int:
        """How many texts' scores are safe on the disk."""
        query = "SELECT count(*) FROM texts WHERE value IS NOT NULL OR reason IS NOT NULL"
        return int(self._file.execute(query).fetchone()[0])

    def close(self) -> None:
        """Keep everything and close the file."""
        for donor in self._donors:
            donor.close()
        # A commit that matters is made by `finish`; after a fault this one may well fail again.
        with suppress(sqlite3.Error):
            self._file.commit()
        self._file.close()

    def remove(self) -> None:
        """Delete the file."""
        remove_part(self.path)

    def _faults(self) -> Any:
        return disk_faults(self.path, self._promise)

    def _promise(self) -> str:
        try:
            self._file.rollback()
            kept = f"The scores of {self.settled():,} texts are kept"
        except sqlite3.Error:
            kept = "What is kept of the scores cannot be counted now"
        return f"{kept}; mend this and run the same command again to go on."

    def _read(self, file: sqlite3.Connection, keys: Sequence[bytes]) -> dict[bytes, Kept]:
        found: dict[bytes, Kept] = {}
        for some in _portions(keys):
            marks = ",".join("?" * len(some))
            for row in file.execute(f"SELECT {COLUMNS} FROM texts WHERE key IN ({marks})", some):
                kept = kept_of(row, self._belongs)
                if kept is None:
                    self.damaged += 1
                else:
                    found[row[0]] = kept
        return found

    def _from_donors(self, shard: int, keys: list[bytes]) -> dict[bytes, Kept]:
        found: dict[bytes, Kept] = {}
        for donor in self._donors:
            for key in keys:
                # One by one: a page that is broken takes no text of another page along.
                try:
                    found |= {k: kept for k, kept in self._read(donor, [key]).items() if kept.shard == shard}
                except sqlite3.Error:
                    self.damaged += 1
        return {key: kept for key, kept in found.items() if kept.settled}

    def _keep(self) -> None:
        # A commit waits for the disk, longer than a small model takes for a batch.
        if monotonic() - self._kept > SECONDS_TO_KEEP:
            self._file.commit()
            self._kept = monotonic()

    def _say(self, name: str, value: str) -> None:
        with self._file:
            self._file.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (name, value))


def sound(path: Path) -> bool:
    """Whether a store can be read from end to end; the hashes of its texts are another matter.

    Raises:
        DataError: the file is none of ours, or the system does not let it be read.
    """
    with disk_faults(path, lambda: GO_ON):
        with path.open("rb") as file:
            head = file.read(len(MAGIC))
        if head and head != MAGIC:
            raise DataError(f"{path} exists and is no part of a scoring run; move it away")
        try:
            with closing(sqlite3.connect(path, timeout=60)) as store:
                return bool(store.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                return False
            raise


def manifest_of(path: Path) -> dict[str, Any]:
    """What a store says that its scores belong to; nothing where that cannot be read."""
    try:
        with closing(sqlite3.connect(path, timeout=60)) as store:
            return _manifest(store)
    except (sqlite3.Error, ValueError):
        return {}


def _manifest(store: sqlite3.Connection) -> dict[str, Any]:
    return unsealed(_about(store, "manifest"))


def _about(store: sqlite3.Connection, name: str) -> str | None:
    row = store.execute("SELECT value FROM about WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def _portions(keys: Sequence[bytes]) -> Iterator[list[bytes]]:
    left = iter(dict.fromkeys(keys))
    while some := list(islice(left, KEYS_A_QUERY)):
        yield some
