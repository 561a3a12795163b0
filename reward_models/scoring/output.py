"""Writing scored rows, shard after shard: whole or not at all."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, BinaryIO

from reward_models.errors import DataError

Shards = Callable[[], Iterator[list[dict[str, Any]]]]


def write_rows(output: Path, shards: Shards) -> None:
    """Write under another name, sync, rename. ``shards`` is called once, for Parquet twice.

    What was written is removed again where that fails, so that it does not fill the disk.
    """
    # Through a link to where the file is: a rename stays on one file system.
    output = output.resolve()
    temporary = output.with_name(output.name + ".tmp")
    try:
        _write(temporary, output.suffix, shards)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, output)
    except Exception:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    _sync_folder(output.parent)


def _write(target: Path, suffix: str, shards: Shards) -> None:
    if suffix == ".parquet":
        _write_parquet(target, shards)
        return
    with target.open("wb") as plain, _packed(plain) if suffix == ".gz" else nullcontext(plain) as file:
        for rows in shards():
            file.write(b"".join(_line(row) for row in rows))


def _packed(plain: BinaryIO) -> gzip.GzipFile:
    # Without name and time: the same rows give the same bytes.
    return gzip.GzipFile("", "wb", 6, plain, mtime=0)


def _line(row: dict[str, Any]) -> bytes:
    try:
        return (json.dumps(row, ensure_ascii=False, default=str) + "\n").encode("utf-8")
    except UnicodeEncodeError:
        # Half of a surrogate pair can only be written as an escape.
        return (json.dumps(row, default=str) + "\n").encode("ascii")


def _sync_folder(folder: Path) -> None:
    """Make a rename in it last through a loss of power, where the system can."""
    with suppress(OSError):
        file = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)


def _write_parquet(target: Path, shards: Shards) -> None:
    """Two passes: the columns' common types first, then one row group a shard."""
    import pyarrow
    import pyarrow.parquet

    schema = pyarrow.schema([])
    try:
        for rows in shards():
            found = _table(rows).schema
            schema = pyarrow.unify_schemas([schema, found], promote_options="permissive")
    except pyarrow.ArrowException as error:
        raise DataError(f"the rows fit no single Parquet schema ({error}); write to .jsonl instead") from error
    with pyarrow.parquet.ParquetWriter(target, schema) as writer:
        for rows in shards():
            writer.write_table(_table(rows, schema))


def _table(rows: list[dict[str, Any]], schema: Any = None) -> Any:
    import pyarrow

    # The columns of a table are those of its first row.
    names = schema.names if schema is not None else list(dict.fromkeys(name for row in rows for name in row))
    whole = [{name: row.get(name) for name in names} for row in rows]
    try:
        return pyarrow.Table.from_pylist(whole, schema=schema)
    except UnicodeEncodeError:
        # Half of a surrogate pair has no place in Parquet.
        plain = json.dumps(whole, ensure_ascii=False, default=str).encode("utf-8", "replace")
        return pyarrow.Table.from_pylist(json.loads(plain), schema=schema)
