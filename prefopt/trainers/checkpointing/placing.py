"""How a finished checkpoint gets its name, and which older ones go for it."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from prefopt.trainers.checkpointing.leftovers import aside_of
from prefopt.trainers.checkpointing.manifest import NAME
from prefopt.trainers.checkpointing.verification import STATE, Verdict, verify
from reward_models.whole_files import sync

logger = logging.getLogger(__name__)


def place(staged: Path, target: Path) -> None:
    """Give a finished checkpoint its name. One that has it is moved aside, never merged; it is put back on failure."""
    aside, replaces = aside_of(target), target.exists()
    if replaces:
        shutil.rmtree(aside, ignore_errors=True)
        os.replace(target, aside)
    try:
        os.replace(staged, target)
    except OSError:
        if replaces:
            os.replace(aside, target)
        raise
    sync(target.parent)
    shutil.rmtree(aside, ignore_errors=True)
    shutil.rmtree(staged.parent, ignore_errors=True)


def remove_older(newest: Path, limit: int | None, best: str | None) -> None:
    """Keep the ``limit`` checkpoints that were written last, ``newest`` and ``best`` always, and only whole ones count.

    Nothing is removed unless all that are kept verify.
    """
    if limit is None or limit <= 0:
        return
    everything = [path for path in newest.parent.glob("checkpoint-*") if path.is_dir()]
    if len(everything) <= limit:
        return
    kept = {newest, *([] if best is None else [newest.parent / Path(best).name])}
    if damaged := [one for one in map(verify, sorted(kept)) if not one.valid]:
        _say_kept(damaged[0])
        return
    others = sorted((path for path in everything if path not in kept), key=_written, reverse=True)
    going: list[Path] = []
    for path in others:
        if len(kept) < limit and verify(path).valid:
            kept.add(path)
        else:
            going.append(path)
    for path in going:
        if len(kept) >= limit or verify(path).valid:
            shutil.rmtree(path, ignore_errors=True)


def _written(path: Path) -> tuple[int, str]:
    times = [file.stat().st_mtime_ns for name in (NAME, STATE) if (file := path / name).is_file()]
    return (times[0] if times else 0, path.name)


def _say_kept(damaged: Verdict) -> None:
    logger.warning("no older checkpoint is removed, as %s does not verify: %s", damaged.folder, damaged.reason)
