"""Files and folders that are there whole or not at all: written beside, flushed to the disk, then renamed."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

UNFINISHED = "_unfinished"
"""How the name of a folder begins that is being written. No pattern of ours or of transformers matches it."""
MARKERS = ("config.json", "adapter_config.json", "reward_head.json")
"""Files without which a folder loads as no model; `place_model` puts them there last."""
WEIGHTS = re.compile(r"(pytorch_|adapter_)?model(-\d+-of-\d+)?\.(safetensors|bin)(\.index\.json)?")


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Yield a path to write a file to; once the block has ended it takes the place of ``path``, in one step.

    Where the block raises, or the disk is full, ``path`` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    waiting = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    try:
        yield waiting
        sync(waiting)
        os.replace(waiting, path)
    except BaseException:
        waiting.unlink(missing_ok=True)
        raise
    sync(path.parent)


def replace_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with written_beside(path) as waiting:
        waiting.write_text(text, encoding="utf-8", newline="\n")


def replace_json(path: Path, value: Any, indent: int | None = 2) -> None:
    """Write a JSON file whole or not at all."""
    replace_text(path, json.dumps(value, indent=indent) + "\n")


def sync(path: Path) -> None:
    """Wait until a file's contents, or a folder's names, are on the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows does not open folders
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def files_of(folder: Path) -> list[Path]:
    """Return all files below a folder, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def sync_folders(folder: Path) -> None:
    """Wait until the names in a folder and in those below it are on the disk."""
    for path in [*(path for path in folder.rglob("*") if path.is_dir()), folder]:
        sync(path)


def place_model(staged: Path, target: Path) -> None:
    """Move a model's files into a folder, so that a kill at any moment leaves the old model, the new one, or none.

    None means that `MARKERS` are missing: what is there loads as no model, never as a mixture of two.
    """
    target.mkdir(parents=True, exist_ok=True)
    new = {str(file.relative_to(staged)) for file in files_of(staged)}
    for file in files_of(staged):
        sync(file)
    sync_folders(staged)
    old = [path for path in target.iterdir() if path.name in MARKERS or WEIGHTS.fullmatch(path.name)]
    # Indices name the weights of several files: without them those are no model either.
    first = [path for path in old if path.name in MARKERS or path.name.endswith(".index.json")]
    _remove(first)
    sync(target)
    _remove(path for path in old if path not in first and path.name not in new)
    last = [name for name in new if Path(name).name in MARKERS]
    for name in [*sorted(new - set(last)), *sorted(last, key=lambda name: name == "config.json")]:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        if Path(name).name in MARKERS:
            sync(target)
        os.replace(staged / name, target / name)
    sync_folders(staged)
    sync(target)
    shutil.rmtree(staged, ignore_errors=True)


@contextmanager
def model_written_beside(target: Path) -> Iterator[Path]:
    """Yield a folder to write a model to; its files are moved into ``target`` once the block has ended."""
    staged = target / f"{UNFINISHED}-model"
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    try:
        yield staged
        place_model(staged, target)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
