"""The corpus in ``data/bad-rows``: each case as a file, with the verdict that it must get."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as default
from pathlib import Path
from typing import Any

from datasets import Dataset

from prefopt import assets

PLACE = 3
"""The row of a file that is bad; those before it are good."""


@dataclass(frozen=True)
class Case:
    """A line of the corpus; see ``data/bad-rows/README.md``."""

    case: str
    like: str
    expect: str
    field: str = ""
    words: str = ""
    row: Any = None
    line: str | None = None
    hex: str | None = None
    change: Mapping[str, Any] | None = None
    without: Sequence[str] = ()
    file: Mapping[str, str] = default(default_factory=dict)
    options: Mapping[str, Any] = default(default_factory=dict)
    counts: Mapping[str, int] = default(default_factory=dict)

    @property
    def good(self) -> list[dict[str, Any]]:
        """Rows of the same kind without a fault."""
        rows: list[dict[str, Any]] = good_rows()[self.like]["rows"]
        return rows

    @property
    def kind(self) -> str:
        """The kind of data that they are."""
        return str(good_rows()[self.like]["kind"])

    def write(self, folder: Path) -> Path:
        """Write the file: two good rows, the case, and the other good rows; or good rows in a damaged file."""
        if not self.file:
            lines = [_line(row) for row in self.good]
            path = folder / "rows.jsonl"
            path.write_bytes(b"\n".join([*lines[: PLACE - 1], self.bad_line(), *lines[PLACE - 1 :], b""]))
            return path
        return damaged(folder, self.good, self.file.get("format", ".jsonl"), self.file["damage"])

    def bad_line(self) -> bytes:
        """The bytes of the bad row."""
        if self.hex is not None:
            return bytes.fromhex(self.hex)
        if self.line is not None:
            return self.line.encode()
        if self.row is not None:
            return _line(self.row)
        # Like the first of the good rows, and unlike all of them.
        row = {key: value for key, value in self.good[0].items() if key not in self.without}
        return _line({**row, **(self.change or {})})


def good_rows() -> dict[str, Any]:
    """Good rows by the name of their kind."""
    found: dict[str, Any] = json.loads((assets.path("bad-rows/good.json")).read_text(encoding="utf-8"))
    return found


def corpus() -> list[Case]:
    """All cases."""
    text = assets.path("bad-rows/corpus.jsonl").read_text(encoding="utf-8")
    return [Case(**json.loads(line)) for line in text.split("\n") if line]


def damaged(folder: Path, rows: Sequence[Mapping[str, Any]], ending: str, damage: str) -> Path:
    """Write good rows in a format, and then damage the file as a whole."""
    path = folder / f"rows{ending}"
    lines = [_line(row) for row in rows]
    content = b"\n".join(lines) + b"\n"
    whole = {
        "empty": b"",
        "blank lines": b"\n \n\n",
        "list": b"[\n" + b",\n".join(lines) + b"\n]\n",
        "utf-16": content.decode().encode("utf-16"),
        "bom": b"\xef\xbb\xbf" + content,
        "crlf": content.replace(b"\n", b"\r\n"),
        "no newline": content[:-1],
        "blank between": content.replace(b"\n", b"\n\n"),
        "number": b"7",
        "plain": content,
        "renamed": content.replace(b'"prompt"', b'"question"').replace(b'"chosen"', b'"better"'),
        "token ids": b'{"chosen_ids": [1], "rejected_ids": [2]}\n' * 3,
    }
    if damage == "folder":
        path.mkdir()
    elif damage in whole and not (ending.endswith(".gz") and damage == "empty"):
        path.write_bytes(whole[damage])
    elif damage != "absent":
        _encode(path, rows, ending, b"" if damage == "empty" else content)
        stored = path.read_bytes()
        if damage == "truncated":
            path.write_bytes(stored[: len(stored) // 2])
        if damage == "flipped":
            middle = len(stored) // 2
            path.write_bytes(stored[:middle] + bytes([stored[middle] ^ 8]) + stored[middle + 1 :])
    return path


def _encode(path: Path, rows: Sequence[Mapping[str, Any]], ending: str, content: bytes) -> None:
    if ending == ".parquet":
        Dataset.from_list([dict(row) for row in rows]).to_parquet(str(path))
    elif ending.endswith(".gz"):
        path.write_bytes(gzip.compress(content, mtime=0))
    else:
        path.write_bytes(json.dumps(list(rows)).encode() if ending == ".json" else content)


def _line(row: Any) -> bytes:
    return json.dumps(row).encode()
