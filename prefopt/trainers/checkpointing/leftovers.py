"""What a killed run may leave beside its checkpoints, and how the next one tidies it."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from prefopt.trainers.checkpointing.verification import FOLDER, verify
from reward_models.whole_files import UNFINISHED, sync

REPLACED = "_replaced-"


def staging_of(home: Path, step: int) -> Path:
    """Return the folder in which the checkpoint of a step is written; the same on all processes."""
    return home / f"{UNFINISHED}-{step}"


def aside_of(checkpoint: Path) -> Path:
    """Return the name of a checkpoint while another takes its place."""
    return checkpoint.with_name(f"{REPLACED}{checkpoint.name}")


def remove_unfinished(home: Path) -> None:
    """Remove what a save that was killed left."""
    for path in home.glob(f"{UNFINISHED}-*"):
        shutil.rmtree(path, ignore_errors=True)


def put_back(home: Path) -> None:
    """Give checkpoints back the names that they were moved from for one that never came; remove those replaced."""
    for path in home.glob(f"{REPLACED}*"):
        target = home / path.name.removeprefix(REPLACED)
        if not FOLDER.fullmatch(target.name):
            continue
        if not target.exists():
            # Another machine with the same disk may have done so.
            with suppress(FileNotFoundError):
                os.replace(path, target)
            sync(home)
        elif verify(target).valid:
            shutil.rmtree(path, ignore_errors=True)
