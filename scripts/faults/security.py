"""Canaries in model folders, adapters, checkpoints, caches, data and configurations: nothing that is read may run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from scripts.faults.canaries import files, folders, runs
from scripts.faults.canaries.outcome import Outcome
from scripts.faults.figure import Figure

KINDS: dict[str, Callable[[Path], list[Outcome]]] = {
    "canaries in model folders and adapters": folders.try_all,
    "canaries in checkpoints that are resumed": runs.try_all,
    "canaries in data, caches, configurations, templates": files.try_all,
}


def inject(seed: int) -> list[Figure]:
    """Plant all canaries; ``seed`` changes nothing, as there is no chance in it."""
    figures = []
    for name, try_all in KINDS.items():
        with TemporaryDirectory(prefix="prefopt-security-") as place:
            figures.append(figure(name, try_all(Path(place))))
    return figures


def figure(name: str, found: Sequence[Outcome]) -> Figure:
    """Count: held are those that were refused with a sentence, or left unread; lost are those that fired."""
    refused = sum(outcome.refusal is not None for outcome in found)
    held, fired = sum(outcome.held for outcome in found), sum(outcome.fired for outcome in found)
    return Figure(name, len(found), held, fired, f"{refused} refused with a sentence, the others left unread")
