"""What would happen if a run were resumed, said without loading a model or changing a file."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from prefopt.trainers.checkpointing.choice import checkpoints_in, choose
from prefopt.trainers.checkpointing.contents import absent, held
from prefopt.trainers.checkpointing.promise import changed, promise_at_resume
from prefopt.trainers.checkpointing.verification import Verdict, verify
from prefopt.trainers.stages import RECORD, read_record


def explain_resume(config: Any, wanted: str | bool | None = None) -> str:
    """Return which checkpoints of a run there are, which one would be taken, and what a resumed run then promises.

    Args:
        config: the run's settings as they are now.
        wanted: the checkpoint that is asked for by a path; otherwise the newest that is whole.
    """
    wanted = wanted if isinstance(wanted, str) and wanted != "last" else None
    home = Path(config.output_dir)
    records = sorted(home.rglob(RECORD)) if home.is_dir() else []
    if records:
        return "\n".join(_of_stages(home, records))
    return "\n".join(_of_checkpoints(home, config, wanted))


def _of_checkpoints(home: Path, config: Any, wanted: str | None) -> Iterator[str]:
    found = checkpoints_in(home)
    named = [] if wanted is None else [verify(Path(wanted))]
    yield f"checkpoints in {home}: {len(found)}" if found else f"{home} holds no checkpoint"
    chosen, skipped = choose(found)
    reasons = {one.folder: one.reason for one in skipped if one.faults}
    for one in found:
        passed = f"; {reasons[one.folder]}" if one.valid and one.folder in reasons else ""
        yield f"  {one.folder.name}: {_state(one)}{passed}"
    for one in named:
        yield f"asked for: {one.folder}: {_state(one)}"
    taken = next((one for one in named if one.valid), None) if named else chosen
    if taken is None:
        yield "none can be resumed from: resume is refused; without it the run begins anew"
        return
    promise = promise_at_resume(config, taken)
    yield f"taken: {taken.folder}, step {taken.step}"
    yield f"promise: {promise.says}"
    yield from (f"  as {reason}" for reason in promise.reasons)
    yield f"restored: {', '.join(held(taken.folder))}"
    if nothing := [what for _, what in absent(taken.folder)]:
        yield f"begun anew: {', '.join(nothing)}"
    others = changed(config, taken.folder)
    yield "settings changed since: " + (
        ", ".join(f"{name} from {then!r} to {now!r}" for name, (then, now) in others.items()) or "none"
    )
    if taken.manifest is not None:
        yield f"training data: {taken.manifest.data.get('rows')} rows then; they are compared when the run starts"


def _state(one: Verdict) -> str:
    if not one.valid:
        return f"damaged: {one.reason}"
    if one.manifest is None:
        return "whole as far as can be told: a checkpoint of plain transformers, without hashes"
    when = datetime.fromtimestamp(one.manifest.saved).strftime("%Y-%m-%d %H:%M:%S")
    return f"whole, written {when} by {one.manifest.trainer} of prefopt {one.manifest.versions['prefopt']}"


def _of_stages(home: Path, records: list[Path]) -> Iterator[str]:
    """Tell of a run of several stages, which finds where it was stopped by itself."""
    yield f"{home} holds a run of several stages; the same command goes on where it was stopped"
    for file in records:
        record, name = read_record(file.parent), file.parent.relative_to(home).as_posix()
        assert record is not None
        if record.finished:
            yield f"  {name}: finished in {record.seconds:.0f} s, not repeated"
            continue
        yield f"  {name}: begun, goes on"
        for one in checkpoints_in(file.parent):
            yield f"    {one.folder.name}: {_state(one)}"
