"""Processes that are killed while they save: is there a checkpoint afterwards, is it whole, does the run go on from it?

Each kill is signal 9. `at_call` kills a process of its own, forked for it, at the n-th time that a save asks the
operating system for something, so that every such moment can be tried; `at_instants` kills a run that saves after every
step from outside, at random times. Both resume from what is left.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from prefopt.trainers.checkpointing.choice import newest_valid
from prefopt.trainers.checkpointing.manifest import hash_of
from scripts.faults.checkpoints import EVERY, SETTINGS, STEPS, trained
from scripts.faults.figure import Figure
from scripts.faults.tiny_trainers import TRAINERS, same_end

MODULE = "posix"
"""Of what Python calls where it asks the operating system for something by name: rename, mkdir, unlink, fsync, ..."""


@dataclass(frozen=True)
class Kill:
    """One kill: the step whose checkpoint was being written, and that of the newest whole one afterwards."""

    saving: int
    newest: int | None
    damaged: int

    @property
    def survived(self) -> bool:
        """Whether a whole checkpoint is left, of this save or of the one before, and no damaged one counts as one."""
        return self.newest in (self.saving, self.saving - EVERY) and self.damaged == 0


def calls_of_a_save(save: Callable[[], None]) -> int:
    """Return how often a save asks the operating system for something."""
    read, write = os.pipe()

    def child() -> None:
        os.write(write, str(_counted(save, None)).encode())

    in_child(child)
    return int(os.read(read, 32))


def at_call(work: Callable[[], None], number: int, run: Path) -> Kill:
    """Kill a save of step 6 in ``run`` at its n-th call."""
    in_child(lambda: _counted(work, number))
    chosen, skipped = newest_valid(run)
    return Kill(STEPS, None if chosen is None else chosen.step, len(skipped))


def save(trainer: Any, randomness: Path) -> None:
    """Write a checkpoint of the step where the trainer stands, with the random numbers of another of that step."""
    trainer._load_rng_state(str(randomness))
    trainer._save_checkpoint(trainer.model, None)


def put_back(kept: Path, run: Path) -> None:
    """Give a run the files that were put aside."""
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(kept, run)


def goes_on(kind: str, run: Path, whole: Any) -> bool:
    """Resume, and compare with the end of a longer run that was not killed."""
    trainer = again(kind, run, max_steps=STEPS + EVERY)
    trainer.train(resume_from_checkpoint=True)
    return same_end(trainer, whole)


def again(kind: str, run: Path, **settings: Any) -> Any:
    """Return a new trainer of a run."""
    given = {"max_steps": STEPS, "save_strategy": "steps", "save_steps": EVERY, **SETTINGS[kind], **settings}
    return TRAINERS[kind](run, **given)


def at_instants(kind: str, run: Path, seed: int, count: int, longest: float = 0.6) -> Iterator[tuple[bool, int]]:
    """Kill a run that saves after every step, ``count`` times, each time resumed from where it was.

    Yield whether a whole checkpoint was left that is no older than the last one that was announced, and its step.
    """
    chance = random.Random(seed)
    told = run.with_name("announced")
    for _ in range(count):
        told.write_text("0", encoding="utf-8")
        process = os.fork()
        if process == 0:
            _silent(lambda: _endless(kind, run, told))
        while int(told.read_text() or 0) == 0:  # until it has started, and written its first checkpoint
            if os.waitpid(process, os.WNOHANG)[0]:
                raise RuntimeError(f"the run in {run} ended before its first checkpoint")
            time.sleep(0.01)
        time.sleep(chance.uniform(0, longest))
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        announced = int(told.read_text() or 0)
        chosen, _ = newest_valid(run)
        step = 0 if chosen is None else chosen.step
        yield step >= max(announced, 1), step


def _endless(kind: str, run: Path, told: Path) -> None:
    trainer = again(kind, run, max_steps=10_000, save_steps=1, save_total_limit=2)
    original = trainer._save_checkpoint

    def announced(*given: Any) -> None:
        original(*given)
        waiting = told.with_suffix(".new")
        waiting.write_text(str(trainer.state.global_step), encoding="utf-8")
        os.replace(waiting, told)

    trainer._save_checkpoint = announced
    trainer.train(resume_from_checkpoint=any(run.glob("checkpoint-*")) or None)


def _counted(work: Callable[[], None], last: int | None) -> int:
    """Do some work, and count its calls of the operating system; at number ``last`` this process is killed."""
    count = 0

    def seen(frame: Any, event: str, called: Any) -> None:
        nonlocal count
        if event == "c_call" and getattr(called, "__module__", None) == MODULE:
            count += 1
            if count == last:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(seen)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def in_child(work: Callable[[], Any]) -> None:
    process = os.fork()
    if process == 0:
        _silent(work)
    os.waitpid(process, 0)


def _silent(work: Callable[[], Any]) -> None:
    """Work in a child, say nothing, and leave without what a program does at its end."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    try:
        work()
    finally:
        os._exit(0)


def kill_saves(kind: str, place: Path, numbers: Callable[[int], list[int]], resumed: int) -> tuple[list[Kill], int]:
    """Kill saves of one trainer at the numbers of calls that are chosen from their count; resume ``resumed`` of them.

    Return the kills, and how many resumed runs ended at the bits of the one that was not killed. The save is of step 6,
    checkpoint 3 is there, and, where the number is even, an older checkpoint 6, which is replaced.
    """
    run, kept, replaced = place / "run", place / "kept", place / "replaced"
    whole = trained(kind, place / "whole", max_steps=STEPS + EVERY)
    saving = trained(kind, run)
    saving.args.save_total_limit = 1
    shutil.copytree(run, replaced)
    shutil.copytree(run, kept)
    shutil.rmtree(kept / f"checkpoint-{STEPS}")
    work = partial(save, saving, replaced / f"checkpoint-{STEPS}")
    chosen = numbers(calls_of_a_save(work))
    found, same, every = [], 0, max(len(chosen) // max(resumed, 1), 1)
    for place_in_order, number in enumerate(chosen):
        put_back(replaced if number % 2 == 0 else kept, run)
        found.append(at_call(work, number, run))
        if place_in_order % every == 0 and place_in_order // every < resumed:
            same += goes_on(kind, run, whole)
    return found, same


def kill_models(place: Path, every: int) -> list[bool]:
    """Kill the save of a model over an older one at every n-th call; is it one of the two, whole, or none each time?"""
    run, kept = place / "run", place / "kept"
    trainer = trained("offline", run, max_steps=1, save_strategy="no")
    trainer.save_model()
    old = _model(run)
    shutil.copytree(run, kept)
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            parameter.add_(1)
    found: list[bool] = []
    for number in range(1, calls_of_a_save(trainer.save_model) + 2, every):
        put_back(kept, run)
        in_child(partial(_counted, trainer.save_model, number))
        there = _model(run)
        trainer.save_model()  # again, over what is left
        found.append(there in (None, old, _model(run)) and _model(run) != old)
    return found


def _model(folder: Path) -> str | None:
    """Return a hash of the weights that a folder loads as; None where it loads as none."""
    if not (folder / "config.json").is_file():
        return None
    return hash_of(
        AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True, trust_remote_code=False).state_dict()
    )


def inject(seed: int) -> list[Figure]:
    """Every call of a save of each trainer; 50 random instants of runs that save after every step."""
    found, same, resumed = [], 0, 6
    for kind in TRAINERS:
        with TemporaryDirectory(prefix="prefopt-kills-") as place:
            kills, ended = kill_saves(kind, Path(place), lambda count: list(range(1, count + 2)), resumed)
            found, same = found + kills, same + ended
    instants: list[bool] = []
    for number, kind in enumerate(TRAINERS):
        with TemporaryDirectory(prefix="prefopt-kills-") as place:
            run = Path(place) / "run"
            run.mkdir()
            left = [one for one, _ in at_instants(kind, run, seed + number, (17, 17, 16)[number])]
            instants += left
    with TemporaryDirectory(prefix="prefopt-kills-") as place:
        models = kill_models(Path(place), 3)
    survived = sum(one.survived for one in found)
    return [
        Figure(
            "saves killed at each of their calls of the system", len(found), survived, len(found) - survived,
            "with and without an older checkpoint of the same step",
        ),
        Figure("runs resumed after such a kill: the bits of one not killed", resumed * len(TRAINERS), same),
        Figure(
            "runs that save every step, killed at random instants", len(instants), sum(instants),
            len(instants) - sum(instants), "no announced checkpoint lost; each went on from the one before it",
        ),
        Figure(
            "saves of a model over an older one killed: the old one, the new one or none", len(models), sum(models),
            len(models) - sum(models), "never a mixture of two; saved again afterwards",
        ),
    ]  # fmt: skip
