"""Checkpoints that are damaged, file by file: is it noticed, named, and is the checkpoint before taken?

`damaged` breaks every file of a run's newest checkpoint in every way of `FAULTS`, one after the other, and yields what
the choice of a checkpoint made of it.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from prefopt.trainers.checkpointing.choice import newest_valid
from reward_models.whole_files import files_of
from scripts.faults.figure import Figure
from scripts.faults.tiny_trainers import TRAINERS, same_end

FAULTS = ("missing", "empty", "truncated", "flipped bit", "swapped between steps")
SETTINGS: Mapping[str, dict[str, Any]] = {
    "online": {"recipe": {"recipe": "gae", "value_bound": 0.2}, "steps_per_generation": 4},
    "offline": {"recipe": {"recipe": "tr_dpo", "share": 0.5, "every": 2}},
    "reward": {},
}
"""A critic and a buffer that is not used up; a reference that moves; a loss without state."""
STEPS, EVERY = 6, 3


@dataclass(frozen=True)
class Damage:
    """One fault: the file, what was done to it, the folder that was taken instead, and the reason for skipping."""

    file: str
    fault: str
    taken: str
    reason: str

    @property
    def noticed(self) -> bool:
        """Whether the damaged one was passed over by name, for the one before."""
        return self.taken == f"checkpoint-{EVERY}" and self.file in self.reason


def trained(kind: str, folder: Path, **settings: Any) -> Any:
    """Train with a checkpoint every third step: those of the online run are inside a buffer."""
    given = {"max_steps": STEPS, "save_strategy": "steps", "save_steps": EVERY, **SETTINGS[kind], **settings}
    trainer = TRAINERS[kind](folder, **given)
    trainer.train()
    return trainer


def damaged(run: Path, seed: int) -> Iterator[Damage]:
    """Damage each file of ``checkpoint-6`` in each way, look for the newest whole checkpoint, and mend it again."""
    chance = random.Random(seed)
    newest, before = run / f"checkpoint-{2 * EVERY}", run / f"checkpoint-{EVERY}"
    for file in files_of(newest):
        name = file.relative_to(newest)
        whole = file.read_bytes()
        for fault in FAULTS:
            other = before / name
            broken = _broken(whole, fault, other.read_bytes() if other.is_file() else whole, chance)
            if broken == whole:
                continue  # the same in both steps, or empty before
            file.unlink()
            if broken is not None:
                file.write_bytes(broken)
            chosen, skipped = newest_valid(run)
            yield Damage(
                name.as_posix(), fault, "" if chosen is None else chosen.folder.name,
                "; ".join("; ".join(one.faults) for one in skipped),
            )  # fmt: skip
            file.write_bytes(whole)


def _broken(whole: bytes, fault: str, other: bytes, chance: random.Random) -> bytes | None:
    """Return what is left of a file; None where it is gone."""
    if fault == "missing":
        return None
    if fault == "empty":
        return b""
    if fault == "truncated":
        return whole[: chance.randrange(len(whole))] if whole else whole
    if fault == "swapped between steps":
        return other
    place = chance.randrange(len(whole) * 8) if whole else 0
    return whole[: place // 8] + bytes([whole[place // 8] ^ 1 << place % 8]) + whole[place // 8 + 1 :]


def resumed_from_the_one_before(kind: str, run: Path, uninterrupted: Any) -> bool:
    """Cut the newest checkpoint short and resume: does the run end at the bits of the one that was not stopped?"""
    weights = next(file for file in files_of(run / f"checkpoint-{2 * EVERY}") if file.suffix == ".safetensors")
    weights.write_bytes(weights.read_bytes()[:-1])
    trainer = TRAINERS[kind](
        run, **{"max_steps": STEPS, "save_strategy": "steps", "save_steps": EVERY, **SETTINGS[kind]}
    )
    trainer.train(resume_from_checkpoint=True)
    return same_end(trainer, uninterrupted)


def inject(seed: int) -> list[Figure]:
    """Damage every file of a checkpoint of each trainer, thrice."""
    found, same = [], 0
    for kind in TRAINERS:
        with TemporaryDirectory(prefix="prefopt-checkpoints-") as place:
            run = Path(place) / "run"
            whole = trained(kind, run)
            for more in range(3):
                found += list(damaged(run, 3 * seed + more))
            same += resumed_from_the_one_before(kind, run, whole)
            shutil.rmtree(run)
    noticed = sum(one.noticed for one in found)
    return [
        Figure(
            "files of checkpoints damaged: noticed, named, the checkpoint before taken", len(found), noticed,
            len(found) - noticed, ", ".join(FAULTS),
        ),
        Figure("runs resumed past a damaged checkpoint: the bits of one not stopped", len(TRAINERS), same),
    ]  # fmt: skip
