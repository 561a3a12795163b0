"""Reward sources that fail in every way: each row ends with its own score or with None, and a bug ends the run."""

from __future__ import annotations

import asyncio
import math
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from prefopt.trainers.rewards.scores import Completions, RewardSourceError, scores_and_failures
from prefopt.trainers.rewards.source import RewardSource
from reward_models.clock import Clock
from reward_models.failures import InfrastructureError, Ungradable
from reward_models.hanging import abandoned
from reward_models.patience import Patience
from reward_models.remote import RemoteReward
from reward_models.verifiable.grading import AssertCase, CallCase, Job, grade
from reward_models.verifiable.sandbox import Limits, Sandbox
from reward_models.verifiable.sandbox.box import Box
from reward_models.verifiable.sandbox.process import Process
from scripts.faults.faulty_server import NAME, Faults, faulty_server, true_score, unscorable
from scripts.faults.figure import Figure

ROWS = 24
SERVER_BATCHES, PYTHON_BATCHES, PROGRAMS = 1_400, 600, 240
TIMEOUT = 0.1


def batch_of(numbers: Sequence[int]) -> Completions:
    """Rows that say their number."""
    texts = [f"row {number}" for number in numbers]
    return Completions(["?"] * len(texts), texts, {"number": list(numbers)})


def hurried(seed: int) -> Clock:
    """A clock on which pauses take no time."""
    return Clock(sleep=lambda seconds: None, chance=random.Random(seed))


def judged(numbers: Sequence[int], scores: Sequence[float | None]) -> Counter[str]:
    """Count rows by what became of them: their own score, None, or one that is not theirs."""
    found: Counter[str] = Counter()
    for number, score in zip(numbers, scores, strict=True):
        missing = score is None or math.isnan(score)
        found["none" if missing else "right" if score == true_score(f"row {number}") else "wrong"] += 1
        found["zero"] += score == 0.0
        found["made_up"] += not missing and unscorable(f"row {number}")
    return found


def ask_server(seed: int, batches: int = SERVER_BATCHES) -> Figure:
    """Every request meets a fault with a chance of a half; pauses take no time."""
    faults, total = Faults(seed=seed), Counter[str]()
    with faulty_server(faults) as url:
        source = RemoteReward(url, (NAME,), 60.0, ROWS // 3, timeout=TIMEOUT, attempts=6, clock=hurried(seed))
        for number in range(batches):
            numbers = list(range(number * ROWS, (number + 1) * ROWS))
            batch = batch_of(numbers)
            total += judged(numbers, source(prompts=batch.prompts, completions=batch.completions))
    rows = batches * ROWS
    bad = total["wrong"] + total["zero"] + total["made_up"]
    asked = sum(faults.seen.values())
    spoilt = asked - faults.seen["none"]
    due = sum(unscorable(f"row {number}") for number in range(rows))
    note = (
        f"{spoilt:,} of {asked:,} requests spoilt in {len(faults.seen) - 1} ways; {total['right']:,} rows with their "
        f"own score, {due:,} that have none, {total['none'] - due:,} given up"
    )
    return Figure("rows asked of a server with random faults", rows, total["right"] + total["none"], bad, note)


class Unreliable:
    """A Python source with random failures, one kind of call and of numbers each time; ``release`` ends what hangs."""

    def __init__(self, seed: int) -> None:
        self.random, self.release = random.Random(seed), threading.Event()
        self.seen: Counter[str] = Counter()

    def row(self, text: str) -> Any:
        """A score of some type, or a failure."""
        if unscorable(text):
            return self.random.choice([None, math.nan, Ungradable("no such text"), np.float32("nan")])
        if self.random.random() < 0.2:
            self.seen["row"] += 1
            return InfrastructureError("busy")
        value = true_score(text)
        return self.random.choice([float, np.float64, torch.tensor, lambda one: [one], np.array])(value)

    def rows(self, texts: Sequence[str]) -> list[Any]:
        """Some rows, in a thread now and then; a call now and then fails as a whole."""
        if self.random.random() < 0.2:
            self.seen["call"] += 1
            raise self.random.choice(
                [InfrastructureError("away"), ConnectionResetError("reset"), TimeoutError("slow"), BrokenPipeError()]
            )
        return [self.row(text) for text in texts]

    def plain(self, prompts: Any, completions: Any) -> Any:
        """Lists, arrays, tuples; a call now and then hangs."""
        if self.random.random() < 0.08:
            self.seen["hanging"] += 1
            self.release.wait(30)
        return self.rows(completions)

    def generator(self, prompts: Any, completions: Any) -> Any:
        """Rows one after the other, which hang or break off in the middle now and then."""
        for text in completions:
            if self.random.random() < 0.02:
                self.seen["hanging"] += 1
                self.release.wait(30)
            if self.random.random() < 0.02:
                self.seen["call"] += 1
                raise ConnectionAbortedError("half way")
            yield self.row(text)

    async def coroutine(self, prompts: Any, completions: Any) -> Any:
        """The same, awaited."""
        await asyncio.sleep(30 if self.random.random() < 0.1 else 0)
        return self.rows(completions)

    async def asynchronous_generator(self, prompts: Any, completions: Any) -> Any:
        """The same, one after the other."""
        for text in completions:
            await asyncio.sleep(30 if self.random.random() < 0.02 else 0)
            yield self.row(text)


def ask_python(seed: int, batches: int = PYTHON_BATCHES) -> Figure:
    """Functions, generators, coroutines and asynchronous generators, asked in wholes and in parts."""
    chance, total, seen = random.Random(seed), Counter[str](), Counter[str]()
    for number in range(batches):
        source = Unreliable(seed * 1_000_000 + number)
        numbers = list(range(number * ROWS, (number + 1) * ROWS))
        patience = Patience(
            timeout=0.03,
            deadline=2.0,
            retries=6,
            rows_per_call=chance.choice([None, 1, 5]),
            row_wise=chance.random() < 0.5,
        )
        kinds = [source.plain, source.generator, source.coroutine, source.asynchronous_generator]
        asked = RewardSource(kinds[number % len(kinds)], ("shaky",), patience=patience)
        scores = scores_and_failures([asked], batch_of(numbers), hurried(number)).values[:, 0].tolist()
        total += judged(numbers, scores)
        source.release.set()
        seen += source.seen
    wait_for(lambda: abandoned() == 0)
    rows = batches * ROWS
    bad = total["wrong"] + total["zero"] + total["made_up"]
    due = sum(unscorable(f"row {number}") for number in range(rows))
    note = (
        f"{seen['row']:,} rows and {seen['call']:,} calls failed, {seen['hanging']:,} calls hung; {total['right']:,} "
        f"rows with their own score, {due:,} that have none, {total['none'] - due:,} given up"
    )
    return Figure("rows asked of Python sources that fail", rows, total["right"] + total["none"], bad, note)


def _fails_on(number: int) -> Callable[..., Any]:
    def picky(prompts: Any, completions: Any) -> list[float]:
        return [1 / (true_score(text) - number - 0.5) for text in completions]

    return picky


def bugs(number: int) -> dict[str, Callable[..., Any]]:
    """Functions that are wrong; the row of this number is to blame where there is one."""
    return {
        "raises": _fails_on(number),
        "raises StopIteration": lambda prompts, completions: next(iter(())),
        "leaves by sys.exit": lambda prompts, completions: (_ for _ in ()).throw(SystemExit(0)),
        "one score too few": lambda prompts, completions: [1.0] * (len(completions) - 1),
        "one score too many": lambda prompts, completions: (1.0 for _ in range(len(completions) + 1)),
        "no end of scores": lambda prompts, completions: iter(lambda: 1.0, None),
        "a number": lambda prompts, completions: 1.0,
        "nothing": lambda prompts, completions: None,
        "text": lambda prompts, completions: "1" * len(completions),
        "a set": lambda prompts, completions: set(completions),
        "a dictionary": lambda prompts, completions: dict.fromkeys(completions, 1.0),
        "infinity": lambda prompts, completions: [
            math.inf if true_score(t) == number + 0.5 else 1 for t in completions
        ],
        "too large": lambda prompts, completions: [10**400 for _ in completions],
        "words": lambda prompts, completions: ["good" for _ in completions],
        "two heads": lambda prompts, completions: torch.zeros(len(completions), 2),
        "complex": lambda prompts, completions: [1j for _ in completions],
    }


def find_bugs(seed: int, times: int = 15) -> Figure:
    """Each is raised at once, once, with the source's name; the row where one is to blame."""
    chance, tried, held = random.Random(seed), 0, 0
    for _ in range(times):
        numbers = chance.sample(range(1, 1000), ROWS)
        guilty = chance.choice(numbers)
        for name, call in bugs(guilty).items():
            tried += 1
            patience = chance.choice([None, Patience(deadline=5.0), Patience(rows_per_call=7)])
            try:
                scores_and_failures([RewardSource(call, ("buggy",), patience=patience)], batch_of(numbers), hurried(0))
            except RewardSourceError as error:
                named = f"'row {guilty}'" in str(error) or name not in ("raises", "infinity")
                held += named and "'buggy'" in str(error)
    return Figure("bugs in reward functions", tried, held, tried - held, f"{len(bugs(0))} kinds, raised at once")


class FragileSandbox(Sandbox):
    """A sandbox whose launchers are killed while programs run, now and then."""

    def __init__(self, of: Sandbox, seed: int, chance: float) -> None:
        super().__init__(of._tier)
        self.random, self.chance, self.killed = random.Random(seed), chance, 0

    def _start(self, box: Box, program: str, limits: Limits) -> Process:
        process = super()._start(box, program, limits)
        if self.random.random() < self.chance:
            threading.Timer(self.random.uniform(0.0, 0.02), self._kill, [box.pid]).start()
        return process

    def _kill(self, pid: int) -> None:
        with suppress(OSError):
            os.kill(launcher_of(pid), signal.SIGKILL)
            self.killed += 1


def launcher_of(pid: int) -> int:
    """Return the interpreter that a box's process stands around: below bubblewrap, or the process itself."""
    while Path(f"/proc/{pid}/comm").read_text() == "bwrap\n":
        found = [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        if not found:
            break
        pid = found[0]
    return pid


def grade_under_fire(seed: int, programs: int = PROGRAMS) -> Figure:
    """Right and wrong programs; launchers die under two of five. A verdict is right, or None by infrastructure."""
    sandbox = FragileSandbox(Sandbox.best(), seed, 0.4)
    chance, jobs, right = random.Random(seed), [], []
    for number in range(programs):
        right.append(chance.random() < 0.5)
        body = f"a + b + {number} - {number}" if right[-1] else f"a + b + {number + 1}"
        cases = [CallCase("add", (2, 3), expected=5), AssertCase("assert add(-1, 1) == 0")]
        jobs.append(Job(f"def add(a, b):\n    return {body}\n", cases))
    graded = grade(jobs, sandbox, workers=2, cache=None, breaker=None)
    wrong = sum(
        verdict is not None and verdict != expected
        for one, expected in zip(graded, right, strict=True)
        for verdict in one.cells
    )
    none = sum(None in one.cells for one in graded)
    known = sum(all(status == "infra" for status, cell in zip(one.statuses, one.cells, strict=True) if cell is None)
                for one in graded)  # fmt: skip
    sandbox.close()
    note = f"{sandbox.killed} launchers killed ({sandbox.tier}); {none} programs None by infrastructure"
    return Figure("programs graded while sandboxes are killed", programs, known, wrong, note)


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until it holds."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError("it did not come to pass")
        time.sleep(0.01)


def inject(seed: int) -> list[Figure]:
    """All of them."""
    return [ask_server(seed), ask_python(seed), find_bugs(seed), grade_under_fire(seed)]
