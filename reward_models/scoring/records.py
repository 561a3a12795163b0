"""What is kept of one text, as a row of a table that says of itself whether it is whole."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

TABLES = """
CREATE TABLE texts (key BLOB PRIMARY KEY, shard INTEGER, value BLOB, cut INTEGER, reason TEXT, hash BLOB) WITHOUT ROWID;
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT);
"""
COLUMNS = "key, shard, value, cut, reason, hash"


@dataclass(frozen=True)
class Kept:
    """A text's first shard in the whole input; its K scores, or why it has none, or neither; whether it was cut."""

    shard: int
    scores: list[float] | None = None
    cut: bool = False
    reason: str | None = None

    @property
    def settled(self) -> bool:
        """Whether there is nothing left to do."""
        return self.scores is not None or self.reason is not None


def row_of(key: bytes, kept: Kept, belongs: bytes) -> tuple[Any, ...]:
    """The columns, last the hash of the others and of what the score ``belongs`` to."""
    value = None if kept.scores is None else np.asarray(kept.scores, dtype="<f4").tobytes()
    content = (key, kept.shard, value, int(kept.cut), kept.reason)
    return (*content, _hash(content, belongs))


def kept_of(row: tuple[Any, ...], belongs: bytes) -> Kept | None:
    """What a row says, or None where it is not as it was written, or of another run."""
    *content, expected = row
    if _hash(tuple(content), belongs) != expected:
        return None
    _, shard, value, cut, reason = content
    return Kept(shard, None if value is None else np.frombuffer(value, dtype="<f4").tolist(), bool(cut), reason)


def _hash(content: tuple[Any, ...], belongs: bytes) -> bytes:
    return hashlib.blake2b(repr(content).encode(), key=belongs, digest_size=8).digest()
