"""Writing scored rows, shard after shard: whole or not at all."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from reward_models.errors import DataError

Shards = Callable[[], Iterator[list[dict[str, Any]]]]


def write_rows(output: Path, shards: Shards) -> None:
    """Write under another name, sync, rename. ``shards`` is called once, for Parquet twice."""
    temporary = output.with_name(output.name + ".tmp")
    if output.suffix == ".parquet":
        _write_parquet(temporary, shards)
    else:
        with gzip.open(temporary, "wb", 6) if output.suffix == ".gz" else temporary.open("wb") as file:
            for rows in shards():
                lines = (json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)
                file.write("".join(lines).encode("utf-8"))
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, output)


def _write_parquet(target: Path, shards: Shards) -> None:
    """Two passes: the columns' common types first, then one row group a shard."""
    import pyarrow
    import pyarrow.parquet

    schema = pyarrow.schema([])
    try:
        for rows in shards():
            found = pyarrow.Table.from_pylist(rows).schema
            schema = pyarrow.unify_schemas([schema, found], promote_options="permissive")
    except pyarrow.ArrowException as error:
        raise DataError(f"the rows fit no single Parquet schema ({error}); write to .jsonl instead") from error
    with pyarrow.parquet.ParquetWriter(target, schema) as writer:
        for rows in shards():
            writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
