"""Which checkpoint of a trainer a run goes on from: the newest that is what was written; others are named."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from prefopt.errors import UserError
from prefopt.trainers.checkpointing import manifest
from prefopt.trainers.checkpointing.leftovers import put_back
from prefopt.trainers.checkpointing.together import gathered, leads_machine
from prefopt.trainers.checkpointing.verification import FOLDER, Verdict, verify

logger = logging.getLogger(__name__)


def checkpoints_in(folder: Path) -> list[Verdict]:
    """Return what is found of every ``checkpoint-N`` in a folder, the newest step first."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if FOLDER.fullmatch(path.name) and path.is_dir()]
    return sorted((verify(path) for path in found), key=lambda verdict: verdict.step, reverse=True)


def newest_whole_checkpoint(folder: Path) -> str | None:
    """Return the newest checkpoint in ``folder`` that is what was written; None where there is none.

    Newer ones that are passed over are named in the log with their reasons. All processes of a run get the same.
    """
    chosen, skipped = newest_valid(folder)
    for verdict in skipped:
        logger.warning("%s is skipped: %s", verdict.folder, verdict.reason)
    if chosen is not None and skipped:
        logger.warning("the run goes on from %s, the newest checkpoint that is whole", chosen.folder)
    return None if chosen is None else str(chosen.folder)


def newest_valid(folder: Path) -> tuple[Verdict | None, list[Verdict]]:
    """Return the newest valid checkpoint of a folder, and the later ones that are passed over; see `choose`.

    Processes agree: where machines have disks of their own, what is damaged on one of them is damaged.
    """
    mine: list[Verdict] | None = None
    if leads_machine():
        put_back(folder)
        mine = checkpoints_in(folder)
    # What one process finds, all of its machine take: each would read every byte otherwise.
    everyone = [found for found in gathered(mine) if found is not None]
    common = set.intersection(*({one.step for one in found} for found in everyone))
    damaged = {one.step: one for found in everyone for one in found if not one.valid}
    return choose([damaged.get(one.step, one) for one in everyone[0] if one.step in common])


def verdict_of(folder: Path) -> Verdict:
    """Return what is found of one checkpoint; one process of a machine looks, and where any finds damage all do."""
    found: list[Verdict] = [one for one in gathered(verify(folder) if leads_machine() else None) if one is not None]
    return next((one for one in found if not one.valid), found[0])


def went_back(verdict: Verdict) -> bool:
    """Whether a run that goes on from a checkpoint leaves its own later ones behind."""
    for folder in verdict.folder.parent.glob("checkpoint-*"):
        try:
            said = manifest.read(folder)
        except (ValueError, OSError):
            continue
        if said.run == verdict.run and said.step > verdict.step:
            return True
    return False


def warn_of_earlier_run(home: Path) -> None:
    """Say in the log that a run begins anew where an earlier one left checkpoints, whose place its own will take."""
    steps = sorted(int(match[1]) for path in home.glob("checkpoint-*") if (match := FOLDER.fullmatch(path.name)))
    if steps:
        others = " and others" if len(steps) > 1 else ""
        logger.warning(
            "training begins anew in %s, which holds checkpoint-%d%s of an earlier run: this run's own will take their "
            "place. To go on from there, stop it and resume; to keep both, name another output_dir",
            home, steps[-1], others,
        )  # fmt: skip


def choose(found: Sequence[Verdict]) -> tuple[Verdict | None, list[Verdict]]:
    """Return the checkpoint to go on from, of those found, newest first; and the later ones with reasons against them.

    Where a run was begun anew in the folder of an earlier one, or went back to an earlier checkpoint, it is the run
    that wrote last that goes on.
    """
    valid = [one for one in found if one.valid]
    if not valid:
        return None, list(found)
    run = max(valid, key=lambda one: one.manifest.saved if one.manifest is not None else 0.0).run
    chosen = next(one for one in valid if one.run == run)
    earlier = (f"it is of an earlier run in this folder than {chosen.folder.name}",)
    later = [one for one in found if one.step > chosen.step]
    return chosen, [replace(one, faults=one.faults or earlier) for one in later]


def checkpoint_to_resume(wanted: str | bool | None, output_dir: str | None) -> str | None:
    """Return the checkpoint that is meant by a path, or by True for the newest whole one; None for None and False.

    Raises:
        UserError: there is none, or the one that is named is damaged.
    """
    if not wanted:
        return None
    if wanted is True:
        found = newest_whole_checkpoint(Path(str(output_dir)))
        if found is None:
            raise UserError(
                f"{output_dir} holds no checkpoint that was written to its end; leave resume out to start anew"
            )
        return found
    if not Path(wanted).is_dir():
        raise UserError(f"{wanted} is no folder; leave resume out to start anew")
    verdict = verdict_of(Path(wanted))
    if not verdict.valid:
        other, _ = newest_valid(Path(wanted).parent)
        instead = "leave resume out to start anew" if other is None else f"the newest that is whole is {other.folder}"
        raise UserError(f"{wanted} cannot be resumed from: {verdict.reason}; {instead}")
    return str(wanted)
