"""Bad rows leave the data, never the disk: one JSON line each, with row number, field, reason and the row."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from types import TracebackType
from typing import IO

from reward_models.data.faults import BadRow

FORMATS = (".jsonl", ".ndjson", ".json", ".parquet")


class Quarantine:
    """A JSONL file that comes into being with the first bad row. A file of an earlier run is replaced then.

    It may be left and entered again, as for several sources: rows are then appended.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.count = 0
        self._file: IO[str] | None = None

    def add(self, row: BadRow) -> None:
        """Append a row."""
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a" if self.count else "w", encoding="ascii", newline="\n")
        self._file.write(row.to_json() + "\n")
        self.count += 1

    def __enter__(self) -> Quarantine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None


def default_quarantine(source: str) -> Path:
    """A file in the working directory that has the name of the source, so that two sources have two files."""
    name = Path(source).name.removesuffix(".gz")
    name = name.rsplit(".", 1)[0] if name.endswith(FORMATS) else name
    return Path(f"{re.sub(r'[^A-Za-z0-9_-]+', '_', name).strip('_') or 'rows'}.quarantine.jsonl")


def read_quarantine(path: str | Path) -> list[BadRow]:
    """The rows of a quarantine file."""
    lines = Path(path).read_text(encoding="ascii").split("\n")
    return [BadRow(**json.loads(line)) for line in lines if line]
