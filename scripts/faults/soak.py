"""Long runs of a tiny model that must not grow: memory, open files, threads, child processes and tensors.

The rule, written before the first run: samples are taken every `EVERY` steps, after a collection of garbage and with
freed memory given back to the system. A straight line is fitted to those after the first fifth of the run. Its slope
may be at most `MOST` a step.

What the first runs showed, with a line logged every tenth step and a checkpoint every hundredth: 0.3 and 0.4 KB a step
in the other trainers, and online 1.6 to 1.9, over the rule, while objects of other kinds, tensors and files held level.
Two things make it. transformers keeps every log line for as long as a trainer lives and writes all of them into each
checkpoint: about 13 KB of resident memory a line online. And the heap is fragmented by checkpoints, a quarter of a
megabyte now and then, until some ten were written. So now a line is logged every fiftieth step, and checkpoints come
five times as often, which settles the heap early and would show a leak in them five times as much. Online steps without
either grow by 0.15 KB.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import gc
import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from scipy.stats import linregress
from transformers import TrainerCallback

from scripts.faults.figure import Figure
from scripts.faults.tiny_trainers import TRAINERS

STEPS, EVERY, WARM = 2000, 20, 0.2
MOST: Mapping[str, float] = {"bytes": 1024.0, "files": 1e-3, "threads": 1e-3, "children": 1e-3, "tensors": 5e-3}
"""Most growth a step: a kilobyte of resident memory, and nothing of what is counted. A batch in hand has ten tensors
more or fewer, so theirs is a line through noise; one for every checkpoint would be 0.01.
"""
LIFE: Mapping[str, Any] = {
    "logging_steps": 50,
    "save_strategy": "steps",
    "save_steps": 20,
    "save_total_limit": 2,
    "eval_strategy": "steps",
    "eval_steps": 100,
    "learning_rate": 1e-4,
}


@dataclass
class Growth(TrainerCallback):
    """Samples what a process holds, as columns of `MOST` and ``blocks``, Python's own count of allocations."""

    every: int = EVERY
    steps: list[int] = field(default_factory=list)
    samples: list[dict[str, float]] = field(default_factory=list)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Leave what is there already, libraries above all, out of every collection."""
        gc.collect()
        gc.freeze()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Let it be collected again."""
        gc.unfreeze()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take a sample."""
        if state.global_step % self.every == 0:
            self.steps.append(state.global_step)
            self.samples.append(held_now())

    def slopes(self) -> dict[str, float]:
        """Growth a step of each column, by least squares after the warm-up."""
        steps = np.array(self.steps, dtype=np.float64)
        late = steps > WARM * steps[-1]
        return {
            name: float(linregress(steps[late], np.array([one[name] for one in self.samples])[late]).slope)
            for name in self.samples[0]
        }


def held_now() -> dict[str, float]:
    """Resident bytes, open files, threads, child processes and tensors of this process."""
    gc.collect()
    _trim()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    children = sum(len(task.joinpath("children").read_text().split()) for task in Path("/proc/self/task").iterdir())
    return {
        "bytes": float(pages * os.sysconf("SC_PAGE_SIZE")),
        "files": float(len(os.listdir("/proc/self/fd"))),
        "threads": float(threading.active_count()),
        "children": float(children),
        "tensors": float(sum(isinstance(one, torch.Tensor) for one in gc.get_objects())),
        "blocks": float(sys.getallocatedblocks()),
    }


def _trim() -> None:
    """Give freed memory back, where the C library can."""
    trim = getattr(ctypes.CDLL(ctypes.util.find_library("c")), "malloc_trim", None)
    if trim is not None:
        trim(0)


def live(kind: str, folder: Path, steps: int = STEPS, **settings: Any) -> tuple[Any, Growth]:
    """Train so many steps with saving, evaluation and logging; return the trainer and what was held."""
    growth = Growth()
    trainer = TRAINERS[kind](folder, callbacks=[growth], **{**LIFE, "max_steps": steps, **settings})
    trainer.train()
    return trainer, growth


def leaks(slopes: Mapping[str, float]) -> list[str]:
    """What grows by more than it may."""
    return [name for name, most in MOST.items() if slopes[name] > most]


def inject(seed: int) -> list[Figure]:
    """A run of each trainer."""
    figures = []
    for kind in TRAINERS:
        with TemporaryDirectory(prefix="prefopt-soak-") as folder:
            trainer, growth = live(kind, Path(folder), seed=seed)
        slopes = growth.slopes()
        steps, guilty = trainer.state.global_step, leaks(slopes)
        note = f"{slopes['bytes']:+.0f} bytes and {slopes['files']:+.4f} open files a step"
        note += f"; grows: {', '.join(guilty)}" if guilty else ""
        name = f"steps of one {kind} run, with what it holds level"
        figures.append(Figure(name, steps, 0 if guilty else steps, steps if guilty else 0, note))
    return figures
