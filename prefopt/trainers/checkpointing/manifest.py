"""What a checkpoint consists of: ``manifest.json``, written last, with size and SHA-256 of every other file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from reward_models.checked_tensors import checksum
from reward_models.whole_files import files_of, sync

NAME = "manifest.json"
FORMAT = 1
AT_ONCE = 8


@dataclass(frozen=True)
class FileRecord:
    """A file as it was written."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What is said of a checkpoint.

    Attributes:
        step: optimiser steps done. saved: seconds since 1970. run: identity of the run, the same after it is resumed
            from its last checkpoint.
        versions: of prefopt and the libraries that wrote it. processes: that took part.
        trainer: name of its class. recipe: what is minimised, its parts or its settings.
        objective_state: SHA-256 of the objective's state, or "" where it has none.
        data: fingerprint and rows of the training data, and the position in it.
        level, reasons: of the promise that a resumed run gives where nothing is changed; see `promise`.
        files: every file but this one, by its path in the folder.
    """

    step: int
    saved: float
    run: str
    versions: Mapping[str, str]
    processes: int
    trainer: str
    recipe: Mapping[str, Any]
    objective_state: str
    data: Mapping[str, Any]
    level: int
    reasons: tuple[str, ...]
    files: Mapping[str, FileRecord] = field(default_factory=dict)
    format: int = FORMAT


def write(folder: Path, manifest: Manifest) -> None:
    """Flush every file of a folder to the disk, and write the manifest with their sizes and hashes."""
    files = [file for file in files_of(folder) if file != folder / NAME]
    manifest = replace(manifest, files=dict(zip(_names(files, folder), record_of(files, flush=True), strict=True)))
    held = asdict(manifest)
    with (folder / NAME).open("w", encoding="utf-8") as file:
        json.dump({"sha256": _own(held), **held}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())


def read(folder: Path) -> Manifest:
    """Return the manifest of a folder.

    Raises:
        ValueError: it cannot be read, or was changed since it was written. FileNotFoundError: there is none.
    """
    text = (folder / NAME).read_text(encoding="utf-8")
    try:
        held = json.loads(text)
        own = held.pop("sha256")
        if held["format"] != FORMAT:
            raise ValueError(f"format {held['format']}, and this version reads format {FORMAT}")
        if own != _own(held):
            raise ValueError("its contents were changed")
        files = {name: FileRecord(**one) for name, one in held["files"].items()}
        return Manifest(**{**held, "files": files, "reasons": tuple(held["reasons"])})
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it says nothing of {error}") from error


def record_of(files: Iterable[Path], flush: bool = False) -> list[FileRecord]:
    """Return sizes and hashes, read by several threads at once; ``flush`` waits for the disk first."""
    records = []
    for one in found_of(files, flush):
        if isinstance(one, OSError):
            raise one
        records.append(one)
    return records


def found_of(files: Iterable[Path], flush: bool = False) -> list[FileRecord | OSError]:
    """Return what `record_of` does, and for a file that cannot be read the reason."""

    def one(path: Path) -> FileRecord | OSError:
        try:
            if flush:
                sync(path)
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256")
            return FileRecord(path.stat().st_size, digest.hexdigest())
        except OSError as error:
            return error

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(one, files))


def hash_of(state: Mapping[str, Tensor]) -> str:
    """Return a SHA-256 of tensors with their names; "" of none."""
    return checksum(state) if state else ""


def _own(held: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()


def _names(files: Iterable[Path], folder: Path) -> list[str]:
    return [file.relative_to(folder).as_posix() for file in files]
