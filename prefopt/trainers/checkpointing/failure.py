"""A save that failed: on all processes together, and said so that a reader knows what is intact and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError

from prefopt.errors import UserError
from prefopt.trainers.checkpointing.choice import checkpoints_in
from prefopt.trainers.checkpointing.together import gathered
from reward_models.disk_faults import free_space


class SaveError(UserError):
    """A checkpoint or a model could not be written; what was there before is as it was."""


class ElsewhereError(Exception):
    """Another process failed at the same work."""


OF_THE_DISK = (OSError, SafetensorError, RuntimeError, ElsewhereError)
"""What libraries raise where a file cannot be written: torch's own writer raises a RuntimeError."""


def on_all(work: Callable[[], None]) -> None:
    """Do a part of a save on this process, and go on when all have done theirs.

    Raises:
        ElsewhereError: this process did its part and another did not.
    """
    error: Exception | None = None
    try:
        work()
    except Exception as caught:
        error = caught
    texts = gathered(None if error is None else f"{type(error).__name__}: {error}")
    if error is not None:
        raise error
    failed = [f"process {number}: {text}" for number, text in enumerate(texts) if text]
    if failed:
        raise ElsewhereError("; ".join(failed))


def save_error(what: str, home: Path, error: Exception) -> SaveError:
    """Return the error that a person reads: what failed, how much space is left, what is intact, what to do."""
    valid = [one.folder.name for one in checkpoints_in(home) if one.valid]
    intact = f"{home} still holds {', '.join(valid)}, whole" if valid else f"{home} holds no whole checkpoint yet"
    on = f"resume goes on from {valid[0]}" if valid else "the run begins anew"
    return SaveError(
        f"{what} could not be saved: {_plainly(error)}. {free_space(home)}. What was there before "
        f"is as it was: {intact}. Make room or mend the disk, and start the run again: {on}"
    )


def _plainly(error: Exception) -> str:
    """Return an error's words; torch's writer speaks of positions where a disk is full."""
    words = str(error).strip().rstrip(".")
    if isinstance(error, OSError | SafetensorError | ElsewhereError):
        return words
    return f"a file could not be written to its end, as on a full disk ({words})"
