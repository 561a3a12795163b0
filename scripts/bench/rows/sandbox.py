"""Programs in the sandbox a second, beside a bare interpreter that starts and ends for each of them.

As many workers as torch has threads, each waiting for one program at a time. The sandbox forks a confined child from an
interpreter that is up already, so that it can be faster than starting one.
"""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from reward_models.verifiable.sandbox import CONFINED, Limits, Sandbox, SandboxUnavailable
from scripts.bench.harness import Row, Sides

PROGRAM = "print(1)"
PROGRAMS = 300
RATES: dict[str, list[float]] = {}


def bare(python: str) -> None:
    """Start an interpreter, run the program and read what it prints."""
    done = subprocess.run([python, "-I", "-S", "-c", PROGRAM], capture_output=True, env={}, check=True)
    assert done.stdout == b"1\n"


def confined(sandbox: Sandbox) -> None:
    """Do the same in the sandbox."""
    process = sandbox.start(PROGRAM, Limits())
    process.close_input()
    usage = process.wait()
    assert (usage.stdout, usage.returncode) == (b"1\n", 0), usage


def many(run: Callable[[], None], name: str) -> Callable[[], None]:
    """Run it ``PROGRAMS`` times on all workers, and note programs a second."""
    workers = torch.get_num_threads()

    def measured() -> None:
        started = time.perf_counter()
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(lambda _: run(), range(PROGRAMS)))
        RATES.setdefault(f"{name}, {workers} workers", []).append(PROGRAMS / (time.perf_counter() - started))

    return measured


def prepare() -> Sides:
    """The strongest tier, and its own interpreter bare."""
    sandbox = Sandbox.best()
    return many(lambda: confined(sandbox), sandbox.tier), many(lambda: bare(sandbox.interpreter.executable), "bare")


def rates() -> dict[str, Any]:
    """Median programs a second, also of the other tiers, which run by themselves."""
    for tier in CONFINED:
        try:
            sandbox = Sandbox.named(tier)
        except SandboxUnavailable:
            continue
        if sandbox is not Sandbox.best():
            run = many(lambda sandbox=sandbox: confined(sandbox), tier)  # type: ignore[misc]
            for _ in range(3):
                run()
    return {"programs_per_second": {name: round(statistics.median(found)) for name, found in RATES.items()}}


ROW = Row(
    name="sandbox",
    work=f"{PROGRAMS} programs that print a digit, each in a confined process, tier 1 where bubblewrap is",
    peer="python",
    settings="-I -S, a new process each, no containment",
    prepare=prepare,
    reach=0.4,
    runs=7,
    extra=rates,
)
