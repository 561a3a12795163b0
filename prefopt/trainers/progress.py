"""What a checkpoint of an online run holds beyond the trainer's own files: objective state and rollout buffer.

Tensors are safetensors, all else is JSON. Every process writes its own; the objective's state is the same on all.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from prefopt.composition import State
from prefopt.errors import UserError
from prefopt.trainers.generation import ON_CPU

logger = logging.getLogger(__name__)
Statistics = dict[str, dict[str, Tensor]]
STATE, STATISTICS, BUFFER = "state", "statistics", "buffer"


@dataclass(frozen=True)
class Progress:
    """Where an online run stands.

    Attributes:
        micro_step: micro-batches trained on.
        state: of the objective. statistics: of the generation batch that ``buffer`` comes from, by slot.
        buffer: generated micro-batches not used up yet, or None.
        unscored: what `UnscoredLimit` has seen.
        reads_logps: whether the behaviour log-probabilities are read, once that is known.
        of_as_many: the run that wrote it had as many processes.
    """

    micro_step: int
    state: State
    statistics: Statistics = field(default_factory=dict)
    buffer: list[dict[str, Any]] | None = None
    unscored: Sequence[tuple[int, Sequence[int]]] = ()
    reads_logps: bool | None = None
    of_as_many: bool = True


def save(progress: Progress, folder: Path, process: int, processes: int, recipe: str) -> None:
    """Write this process's part."""
    tensors = {f"{STATE}|{name}": value for name, value in progress.state.items()}
    for slot, values in progress.statistics.items():
        tensors |= {f"{STATISTICS}|{slot}|{name}": value for name, value in values.items()}
    plain: list[dict[str, Any]] = []
    for number, batch in enumerate(progress.buffer or []):
        tensors |= {f"{BUFFER}|{number}|{key}": value for key, value in batch.items() if isinstance(value, Tensor)}
        plain.append({key: value for key, value in batch.items() if not isinstance(value, Tensor)})
    # Some tensors of a buffer share memory, which safetensors refuses.
    save_file(
        {key: value.detach().cpu().clone().contiguous() for key, value in tensors.items()}, _tensors(folder, process)
    )
    about = {
        "micro_step": progress.micro_step,
        "processes": processes,
        "recipe": recipe,
        "slots": list(progress.statistics),
        "buffer": None if progress.buffer is None else plain,
        "reads_logps": progress.reads_logps,
        "unscored": [[rows, list(counts)] for rows, counts in progress.unscored],
    }
    _about(folder, process).write_text(json.dumps(about), encoding="utf-8")


def load(folder: Path, process: int, processes: int, initial: State, device: torch.device) -> Progress | None:
    """Read this process's part; None where the checkpoint has none (another trainer wrote it).

    With another number of processes the state is restored and rollouts are generated anew.

    Raises:
        UserError: the state belongs to another objective.
    """
    source = process if _about(folder, process).is_file() else 0
    if not _about(folder, source).is_file() or not _tensors(folder, source).is_file():
        return None
    about = json.loads(_about(folder, source).read_text(encoding="utf-8"))
    tensors = load_file(_tensors(folder, source))
    state = {key.split("|", 1)[1]: value for key, value in tensors.items() if key.startswith(f"{STATE}|")}
    check_state(state, initial, folder, about["recipe"])
    # A part that only counts steps has statistics without a tensor.
    statistics: Statistics = {slot: {} for slot in about.get("slots", ())}
    for key, value in tensors.items():
        if key.startswith(f"{STATISTICS}|"):
            _, slot, name = key.split("|", 2)
            statistics.setdefault(slot, {})[name] = value
    rest = ([(int(rows), list(counts)) for rows, counts in about["unscored"]], about.get("reads_logps"))
    if about["processes"] != processes:
        logger.warning("%s was written by %d processes: rollouts are generated anew", folder, about["processes"])
        return Progress(about["micro_step"], state, statistics, None, *rest, of_as_many=False)
    return Progress(about["micro_step"], state, statistics, _read_buffer(about["buffer"], tensors, device), *rest)


def _read_buffer(
    plain: list[dict[str, Any]] | None, tensors: Mapping[str, Tensor], device: torch.device
) -> list[dict[str, Any]] | None:
    if plain is None:
        return None
    buffer = [dict(batch) for batch in plain]
    for key, value in tensors.items():
        if key.startswith(f"{BUFFER}|"):
            _, number, name = key.split("|", 2)
            buffer[int(number)][name] = value if name in ON_CPU else value.to(device)
    return buffer


def check_state(state: State, initial: State, folder: Path, recipe: str) -> None:
    """Raise ``UserError`` unless the state of a checkpoint is one that this run's objective can have."""
    same_names = state.keys() == initial.keys()
    if not same_names or not all(_grown_from(initial[name].shape, value.shape) for name, value in state.items()):
        then, now = (", ".join(sorted(names)) or "none" for names in (state, initial))
        raise UserError(
            f"{folder} holds the state of recipe '{recipe}' ({then}), this run's recipe has {now}; resume with the "
            "recipe that wrote it, or start without resuming"
        )


def _grown_from(start: torch.Size, now: torch.Size) -> bool:
    """Whether a state can have become so large: a dimension that starts at 0 grows with what is seen, others stay."""
    return len(start) == len(now) and all(first in (0, then) for first, then in zip(start, now, strict=True))


def _tensors(folder: Path, process: int) -> Path:
    return folder / f"online_state_{process}.safetensors"


def _about(folder: Path, process: int) -> Path:
    return folder / f"online_state_{process}.json"
