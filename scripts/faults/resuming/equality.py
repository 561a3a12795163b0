"""Whether a resumed run is the uninterrupted one: what both ran on, and everything that they ended with."""

from __future__ import annotations

import gc
import hashlib
import random
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.trainer_callback import ExportableState

from prefopt.trainers.history import read_history

CLOCK = ("step_time", "runtime", "per_second")
"""Parts of the names of figures that a clock gives."""
STATE = ("global_step", "epoch", "max_steps", "total_flos", "num_input_tokens_seen", "best_metric", "best_global_step")


@dataclass(frozen=True)
class Case:
    """A run that can be made again.

    Attributes:
        made_of: what it is; the same for cases that share their uninterrupted run.
        make: returns its trainer for a folder, which writes a checkpoint at each step.
        save_at: the step whose checkpoint is resumed from.
    """

    made_of: str
    make: Callable[[Path], Any]
    save_at: int

    @property
    def name(self) -> str:
        """What was tried."""
        return f"{self.made_of}, saved at {self.save_at}"


@dataclass
class Ran:
    """A run that has come to its end.

    Attributes:
        trainer: as it was left.
        batches: number of the optimiser step and content of each micro-batch.
        history: lines of its file, without the figures of a clock.
        random: states of the generators.
    """

    trainer: Any
    batches: list[tuple[int, str]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    random: dict[str, Any] = field(default_factory=dict)


def tried(cases: Iterable[Case], folder: Path) -> Iterator[tuple[Case, list[str]]]:
    """Yield each case with what is not the same; those that share their uninterrupted run stand side by side."""
    for number, (_, some) in enumerate(groupby(cases, key=lambda case: case.made_of)):
        home, together = folder / str(number), list(some)
        whole = _ended(run, together[0].make, home / "whole")
        for case in together:
            again = _ended(resume, case.make, home / "whole", home / f"from-{case.save_at}", case.save_at)
            broken = [one for one in (whole, again) if isinstance(one, str)]
            yield case, broken or differences(whole, again, case.save_at)
        shutil.rmtree(home)


def _ended(work: Callable[..., Ran], *of: Any) -> Any:
    """Return the run, or in words why it came to no end."""
    try:
        return work(*of)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def run(make: Callable[[Path], Any], folder: Path, checkpoint: Path | None = None) -> Ran:
    """Train to the end, from a checkpoint where one is given.

    The random numbers that a new process has drawn before are other ones than those of the run.
    """
    # transformers collects garbage when it begins, which takes longer than these runs where all modules are walked.
    gc.freeze()
    trainer = make(folder)
    found = Ran(trainer)
    _watch(trainer, found.batches)
    if checkpoint is not None:
        random.random(), np.random.rand(3), torch.rand(5)
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    found.random = {"torch": torch.get_rng_state(), "numpy": np.random.get_state(), "python": random.getstate()}
    file = folder / "history.jsonl"
    found.history = [_timeless(line) for line in read_history(file)] if file.is_file() else []
    return found


def resume(make: Callable[[Path], Any], whole: Path, folder: Path, step: int) -> Ran:
    """Go on from a checkpoint of the run in ``whole``, in a folder as it is where that run was killed later."""
    folder.mkdir(parents=True)
    if (whole / "history.jsonl").is_file():
        shutil.copy(whole / "history.jsonl", folder)
    return run(make, folder, whole / f"checkpoint-{step}")


def differences(whole: Ran, resumed: Ran, step: int) -> list[str]:
    """Return what is not the same, bit for bit, of a run and one that was resumed after ``step``."""
    found = []
    then, now = [one for one in whole.batches if one[0] >= step], resumed.batches
    if then != now:
        first = next((i for i, (a, b) in enumerate(zip(then, now, strict=False)) if a != b), min(len(then), len(now)))
        found.append(f"micro-batch {first} after the resume ({len(then)} and {len(now)})")
    if whole.history != resumed.history:
        found.append(f"history: {_first_line(whole.history, resumed.history)}")
    one, other = everything(whole), everything(resumed)
    found += [f"{name} is missing" for name in sorted(one.keys() ^ other.keys())]
    found += [name for name in one if name in other and not _same(one[name], other[name])]
    return found


def everything(ran: Ran) -> dict[str, Any]:
    """Return what a run ended with by name: weights, moments, schedule, states, random numbers, lines of its log."""
    trainer = ran.trainer
    parts: dict[str, Any] = {
        "weights": dict(trainer.accelerator.unwrap_model(trainer.model).state_dict()),
        "optimiser": trainer.optimizer.state_dict(),
        "schedule": trainer.lr_scheduler.state_dict(),
        "random": ran.random,
        "trainer": {name: getattr(trainer.state, name) for name in STATE},
        "log": [_timeless(line) for line in trainer.state.log_history if "train_runtime" not in line],
        "callbacks": [one.state() for one in trainer.callback_handler.callbacks if isinstance(one, ExportableState)],
    }
    if hasattr(trainer, "objective_state"):
        limit = [[rows, list(counts)] for rows, counts in trainer.scorer.limit.seen]
        parts |= {"objective": trainer.objective_state, "statistics": trainer.statistics, "unscored": limit}
        parts |= {"position": [trainer.micro_step, trainer.generation]}
    if getattr(trainer, "heads", None) is not None:
        # Several heads take the place of the model's own, which nobody reads until their mean is written into it.
        parts["weights"].pop("lm_head.weight")
    if hasattr(trainer, "whole"):
        parts["objective"] = trainer.whole.state
    if getattr(trainer, "moving_weights", None) is not None:
        moving = trainer.moving_weights
        parts["reference"] = {name: moving._average(name) for name in moving.parameters}
    return dict(_flat("", parts))


def digest(batch: Any) -> str:
    """Return a SHA-256 of all tensors and values in a batch."""
    found = hashlib.sha256()
    for name, value in sorted(_flat("", batch), key=lambda pair: pair[0]):
        found.update(name.encode())
        if isinstance(value, Tensor):
            found.update(f"{value.dtype}{tuple(value.shape)}".encode())
            found.update(_bits(value).numpy().tobytes())
        else:
            found.update(repr(value).encode())
    return found.hexdigest()


def _watch(trainer: Any, batches: list[tuple[int, str]]) -> None:
    """Remember every micro-batch that is trained on: of an online run with its completions, rewards and weights."""
    name = "_compute_loss" if hasattr(trainer, "objective_state") else "compute_loss"
    original = getattr(trainer, name)

    def watched(model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if model.training:
            batches.append((trainer.state.global_step, digest(inputs)))
        return original(model, inputs, *args, **kwargs)

    setattr(trainer, name, watched)


def _timeless(line: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in line.items() if not any(clock in key for clock in CLOCK)}


def _first_line(whole: list[dict[str, Any]], resumed: list[dict[str, Any]]) -> str:
    for one, other in zip(whole, resumed, strict=False):
        if one != other:
            keys = [key for key in {**one, **other} if one.get(key) != other.get(key)]
            return f"step {one.get('step')}: " + ", ".join(f"{k} {one.get(k)} and {other.get(k)}" for k in keys[:3])
    return f"{len(whole)} and {len(resumed)} lines"


def _flat(prefix: str, value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _flat(f"{prefix}/{key}", one)
    elif isinstance(value, (list, tuple)) and not all(isinstance(one, (int, float, str)) for one in value):
        for i, one in enumerate(value):
            yield from _flat(f"{prefix}/{i}", one)
    else:
        yield prefix, value


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        same = one.dtype == other.dtype and one.shape == other.shape
        return same and torch.equal(_bits(one), _bits(other))
    if isinstance(one, np.ndarray):
        return bool(np.array_equal(one, other))
    return repr(one) == repr(other)


def _bits(value: Tensor) -> Tensor:
    """Return the bytes of a tensor, in which a NaN equals itself."""
    # A copy, since one element is contiguous whatever its stride, and not seen as bytes then.
    return value.detach().cpu().clone(memory_format=torch.contiguous_format).flatten().view(torch.uint8)
