"""A disk that is full: at every size at which a save may run out of room, and on a small file system of its own.

`ended_at` lets no file grow beyond some bytes, which needs no rights: the operating system then refuses the write, as a
full disk does, to Python and to the libraries alike. `until_full` fills a small one.
"""

from __future__ import annotations

import os
import resource
import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from prefopt.errors import UserError
from prefopt.trainers.checkpointing.choice import checkpoints_in
from prefopt.trainers.checkpointing.failure import SaveError
from reward_models.whole_files import files_of
from scripts.faults.checkpoints import EVERY, STEPS, trained
from scripts.faults.figure import Figure
from scripts.faults.kills import in_child
from scripts.faults.small_disk import small_disk
from scripts.faults.tiny_trainers import TRAINERS


@dataclass(frozen=True)
class Refused:
    """A save that was refused room: what was said, and what is left in the run's folder."""

    said: str
    left: tuple[str, ...]
    before: tuple[str, ...]

    @property
    def held(self) -> bool:
        """Whether nothing else changed, and the message says what is intact and how much room there is."""
        return self.left == self.before and all(word in self.said for word in ("checkpoint-3", "are free in", "resume"))


def ended_at(trainer: Any, run: Path, most: int) -> Refused:
    """Save checkpoint 6 while no file may be larger than ``most`` bytes."""
    read, write = os.pipe()
    before = contents(run)

    def child() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        try:
            trainer._save_checkpoint(trainer.model, None)
        except SaveError as error:
            os.write(write, str(error).encode()[:60_000])

    in_child(child)
    os.close(write)
    said = os.read(read, 60_000).decode()
    os.close(read)
    return Refused(said, contents(run), before)


def contents(run: Path) -> tuple[str, ...]:
    """Return the run's files, and for each whole checkpoint that it is whole."""
    names = [file.relative_to(run).as_posix() for file in files_of(run)]
    return (*names, *(f"{one.folder.name} is whole" for one in checkpoints_in(run) if one.valid))


def until_full(kind: str, run: Path) -> tuple[str, tuple[str, ...]]:
    """Train with a checkpoint after every step until the disk is full; return what was said, and what is whole."""
    try:
        trained(kind, run, max_steps=200, save_steps=1)
    except UserError as error:
        return str(error), tuple(one.folder.name for one in checkpoints_in(run) if one.valid)
    return "", ()


def refusals(kind: str, place: Path, sizes: int) -> list[Refused]:
    """Save where files may have so many different sizes at most, below that of the largest one."""
    run = place / "run"
    trainer = trained(kind, run)
    largest = max(file.stat().st_size for file in files_of(run / f"checkpoint-{STEPS}"))
    shutil.rmtree(run / f"checkpoint-{STEPS}")
    assert (run / f"checkpoint-{EVERY}").is_dir()
    return [ended_at(trainer, run, largest * number // sizes) for number in range(sizes)]


def inject(seed: int) -> list[Figure]:
    """Forty sizes for each trainer, and one small disk each where that is permitted."""
    found, full = [], []
    for kind in TRAINERS:
        with TemporaryDirectory(prefix="prefopt-full-") as place:
            found += refusals(kind, Path(place), 40)
            with small_disk(Path(place), 1024) as disk:
                if disk is not None:
                    said, whole = until_full(kind, disk.path / "run")
                    full.append(len(whole) > 1 and f"{disk.path}/run still holds {whole[0]}" in said)
    held = sum(one.held for one in found)
    return [
        Figure(
            "saves that ran out of room: refused, said, older checkpoints as they were", len(found), held,
            len(found) - held, "at forty sizes of the largest file a trainer",
        ),
        Figure("small disks filled by checkpoints", len(full), sum(full), len(full) - sum(full), "" if full else
               "none: this user may not mount one"),
    ]  # fmt: skip
