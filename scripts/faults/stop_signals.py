"""Runs that are told to stop, everywhere in a step: a checkpoint is left, and the run that goes on from it is the same.

`TELLERS` names the places of a step; `told_to_stop` trains with a SIGTERM that arrives there. `inject` does so in all
three trainers, at every place and several steps, then at random moments, and once more with a second signal.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from prefopt.trainers.checkpointing.choice import newest_whole_checkpoint
from prefopt.trainers.stop_signals import StopSignals, TrainingStopped
from scripts.faults.figure import Figure
from scripts.faults.tiny_trainers import TRAINERS, same_end

SETTINGS: dict[str, Any] = {"eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps", "save_steps": 3}
PLACES: Mapping[str, tuple[str, ...]] = {
    "generation": ("online",),
    "scoring": ("online",),
    "backward": ("online", "offline", "reward"),
    "optimiser": ("online", "offline", "reward"),
    "saving": ("online", "offline", "reward"),
    "evaluation": ("online", "offline", "reward"),
}
"""Where a signal arrives, and in which trainers there is such a place."""
METHODS = {
    "generation": "_generate_single_turn",
    "scoring": "score",
    "saving": "_save_rng_state",
    "evaluation": "prediction_step",
}


def told_to_stop(kind: str, folder: Path, place: str, call: int, number: int = signal.SIGTERM, **settings: Any) -> Any:
    """Train; a signal arrives at the ``call``-th time that the trainer is at a place. Return trainer and status.

    The status is None where the run came to its end.
    """
    with StopSignals(number) as stop:
        trainer = TRAINERS[kind](folder, callbacks=[stop], **settings)
        _tell(trainer, place, call, number)
        try:
            trainer.train()
        except TrainingStopped as stopped:
            return trainer, stopped.code
    return trainer, None


def _tell(trainer: Any, place: str, call: int, number: int) -> None:
    calls = 0

    def heard() -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            signal.raise_signal(number)

    if place == "backward":
        next(trainer.model.parameters()).register_hook(lambda gradient: heard())
    elif place == "optimiser":
        trainer.create_optimizer()
        trainer.optimizer.register_step_pre_hook(lambda *_: heard())
    else:
        original = getattr(trainer, METHODS[place])

        def spy(*given: Any, **named: Any) -> Any:
            heard()
            return original(*given, **named)

        setattr(trainer, METHODS[place], spy)


def resumed(kind: str, folder: Path, **settings: Any) -> Any:
    """Go on from the newest checkpoint, to the end."""
    trainer = TRAINERS[kind](folder, **settings)
    trainer.train(resume_from_checkpoint=newest_whole_checkpoint(folder))
    return trainer


def inject(seed: int) -> list[Figure]:
    """All places in all trainers; then moments drawn at random."""
    places, moments = [0, 0], [0, 0]
    draw = random.Random(seed)
    for kind in TRAINERS:
        settings = SETTINGS | ({"steps_per_generation": 2} if kind == "online" else {})
        with TemporaryDirectory(prefix="prefopt-stop-") as root:
            begin = time.perf_counter()
            whole = TRAINERS[kind](Path(root) / "whole", **settings)
            built = time.perf_counter()
            whole.train()
            trained = time.perf_counter()
            for place in (name for name, kinds in PLACES.items() if kind in kinds):
                for call in (1, 2):
                    folder = Path(root) / f"{place}-{call}"
                    _, status = told_to_stop(kind, folder, place, call, **settings)
                    places[0] += 1
                    places[1] += status == 143 and same_end(whole, resumed(kind, folder, **settings))
            for number in range(8):
                folder = Path(root) / f"moment-{number}"
                after = (built - begin) + draw.random() * (trained - built)
                timer = threading.Timer(after, os.kill, (os.getpid(), signal.SIGTERM))
                moments[0] += 1
                moments[1] += _at_a_moment(kind, folder, timer, settings, whole)
    return [
        Figure("SIGTERM at a named place of a step, then resumed at the same bits", *places),
        Figure("SIGTERM at a random moment, then resumed at the same bits", *moments),
    ]


def _at_a_moment(kind: str, folder: Path, timer: threading.Timer, settings: Mapping[str, Any], whole: Any) -> bool:
    """Train until the timer's signal; it may come before the first step, or after the last."""
    try:
        with StopSignals() as stop:
            timer.start()
            trainer = TRAINERS[kind](folder, callbacks=[stop], **settings)
            trainer.train()
            timer.join()
    except TrainingStopped:
        pass
    return same_end(whole, resumed(kind, folder, **settings))
