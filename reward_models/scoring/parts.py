"""Parts of a scoring run: which shards a process has, and where it keeps their scores."""

from __future__ import annotations

import glob
import re
from dataclasses import dataclass
from pathlib import Path

from reward_models.errors import DataError


@dataclass(frozen=True)
class Part:
    """Part ``number`` (from 1) of ``count``: every shard whose number leaves ``number - 1`` when divided by it."""

    number: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise DataError(f"part {self.number}/{self.count} does not exist; parts are 1/{self.count} and up")

    @classmethod
    def parse(cls, text: str) -> Part:
        """Read ``i/n``.

        Raises:
            DataError: anything else.
        """
        if not (found := re.fullmatch(r"(\d+)/(\d+)", text)):
            raise DataError(f"a shard is written i/n, as in 1/8; got '{text}'")
        return cls(int(found[1]), int(found[2]))

    def owns(self, shard: int) -> bool:
        """Whether a shard (from 0) is in this part."""
        return shard % self.count == self.number - 1

    def path(self, output: Path) -> Path:
        """``OUTPUT.shard-i-of-n``."""
        return output.with_name(f"{output.name}.shard-{self.number}-of-{self.count}")


def part_files(output: Path) -> dict[Path, Part]:
    """The stores of all parts that lie beside an output, of this run or of one with another number of parts."""
    found = {}
    for path in sorted(output.parent.glob(glob.escape(output.name) + ".shard-*-of-*")):
        if match := re.fullmatch(r"\.shard-(\d+)-of-(\d+)", path.name.removeprefix(output.name)):
            found[path] = Part(int(match[1]), int(match[2]))
    return found


def quarantine_of(path: Path) -> Path:
    """Where bad rows of an output are listed."""
    return path.with_name(path.name + ".quarantine.jsonl")


def unread_of(path: Path) -> Path:
    """Where rows that cannot be brought to a pair lie while the others are read."""
    return path.with_name(path.name + ".unread.jsonl")


def damaged_of(path: Path) -> Path:
    """Where a store that cannot be trusted is kept until what is sound in it has been read."""
    return path.with_name(path.name + ".damaged")


def remove_part(path: Path) -> None:
    """Delete a part's store and what SQLite keeps beside it.

    The journal goes last: a store without the journal that would mend it could be torn.
    """
    for end in ("", "-journal", ".damaged", ".damaged-journal"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    unread_of(path).unlink(missing_ok=True)
