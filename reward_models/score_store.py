"""What a scoring run keeps on disk, so that it can be killed at any moment and go on."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from reward_models.errors import DataError

MANIFEST = "manifest.json"


class ScoreStore:
    """The folder ``OUTPUT.parts``: a manifest, finished shards, and the scores seen so far.

    A file is written under another name, synced, and renamed: what has its final name is complete. The manifest says
    which input, model and settings the shards belong to; where it differs the folder is begun anew.
    Scores are kept by the hash of their token ids (SQLite), so equal texts are scored once in the whole file.
    """

    def __init__(self, output: Path, manifest: dict[str, Any]) -> None:
        self.output = output
        self.folder = output.with_name(output.name + ".parts")
        old = self.folder / MANIFEST
        self.resumed = old.exists() and json.loads(old.read_text(encoding="utf-8")) == manifest
        if not self.resumed and self.folder.exists():
            if not old.exists() and any(self.folder.iterdir()):
                raise DataError(f"{self.folder} exists and is no folder of a scoring run; move it away")
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        replace_text(old, json.dumps(manifest, indent=2))
        self._scores = sqlite3.connect(self.folder / "scores.sqlite")
        self._scores.execute(
            "CREATE TABLE IF NOT EXISTS scores (key BLOB PRIMARY KEY, value BLOB, shard INTEGER) WITHOUT ROWID"
        )

    def shard(self, index: int) -> Path:
        """Path of a shard, whether it exists or not."""
        return self.folder / f"shard-{index:06d}.jsonl"

    def write_shard(self, index: int, rows: Sequence[dict[str, Any]]) -> None:
        """Write one shard, whole or not at all."""
        replace_text(
            self.shard(index), "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)
        )

    def known(self, keys: Sequence[bytes], shard: int) -> tuple[dict[bytes, list[float]], dict[bytes, list[float]]]:
        """Scores of those keys that were seen: in earlier shards, and in this one by a run that was killed."""
        earlier: dict[bytes, list[float]] = {}
        own: dict[bytes, list[float]] = {}
        for key in set(keys):
            row = self._scores.execute("SELECT value, shard FROM scores WHERE key = ?", (key,)).fetchone()
            if row is not None:
                (earlier if row[1] < shard else own)[key] = np.frombuffer(row[0], dtype="<f4").tolist()
        return earlier, own

    def remember(self, keys: Sequence[bytes], scores: Tensor, shard: int) -> None:
        """Keep scores (n, K) under their keys, at once and durably."""
        values = scores.numpy().astype("<f4")
        with self._scores:
            self._scores.executemany(
                "INSERT OR REPLACE INTO scores VALUES (?, ?, ?)",
                [(key, row.tobytes(), shard) for key, row in zip(keys, values, strict=True)],
            )

    def finish(self, shards: int) -> None:
        """Join the shards into the output, in order, and remove the folder."""
        temporary = self.output.with_name(self.output.name + ".tmp")
        files = [self.shard(i) for i in range(shards)]
        if self.output.suffix == ".parquet":
            _join_parquet(files, temporary)
        else:
            with gzip.open(temporary, "wb") if self.output.suffix == ".gz" else temporary.open("wb") as whole:
                for file in files:
                    with file.open("rb") as part:
                        shutil.copyfileobj(part, whole)  # type: ignore[misc]
        _sync(temporary)
        os.replace(temporary, self.output)
        self._scores.close()
        shutil.rmtree(self.folder)

    def discard(self) -> None:
        """Remove the folder: there was nothing to keep."""
        self._scores.close()
        shutil.rmtree(self.folder)


def replace_text(path: Path, text: str) -> None:
    """Write a text file so that it is there whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _tables(files: Sequence[Path]) -> Iterator[Any]:
    import pyarrow

    for file in files:
        with file.open("rb") as part:
            yield pyarrow.Table.from_pylist([json.loads(line) for line in part])


def _join_parquet(files: Sequence[Path], target: Path) -> None:
    """Two passes: the columns' common types first, then one row group a shard."""
    import pyarrow
    import pyarrow.parquet

    try:
        schema = pyarrow.unify_schemas([table.schema for table in _tables(files)], promote_options="permissive")
    except pyarrow.ArrowException as error:
        raise DataError(f"the rows fit no single Parquet schema ({error}); write to .jsonl instead") from error
    with pyarrow.parquet.ParquetWriter(target, schema) as writer:
        for file in files:
            with file.open("rb") as part:
                rows = [json.loads(line) for line in part]
            writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
