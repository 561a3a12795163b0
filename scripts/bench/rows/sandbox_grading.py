"""Grading programs in the best sandbox of this machine, beside starting a bare interpreter as often.

Each program is another text, so that nothing comes from the cache; both sides have two workers.
"""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from reward_models.verifiable.grading import AssertCase, CallCase, Graded, Job, StdinCase, grade
from reward_models.verifiable.sandbox import Sandbox
from scripts.bench.harness import Row, Sides

PROGRAMS, WORKERS = 300, 2
CELLS = 2000
REACH = 120 / 296  # sandboxed executions to reach over bare interpreters, of another machine with two cores
ADD = "def add(a, b):\n    return a + b\n"
PRINT = "print(int(input()) + 1)\n"
BARE = "print(1)"


def jobs(code: str, case: Any, number: int = PROGRAMS) -> list[Job]:
    """Programs that differ in a comment."""
    stamp = time.monotonic_ns()
    return [Job(f"{code}# {stamp} {n}\n", [case]) for n in range(number)]


def graded(work: list[Job]) -> list[Graded]:
    """Grade, and see that all was right."""
    results = grade(work, Sandbox.best(), WORKERS, cache=None)
    assert all(all(result.cells) for result in results)
    return results


def black_box() -> None:
    """One call each."""
    graded(jobs(ADD, CallCase("add", (2, 3), expected=5)))


def bare() -> None:
    """Start, print, end."""
    command = [sys.executable, "-I", "-S", "-c", BARE]

    def once(_: int) -> None:
        assert subprocess.run(command, check=True, capture_output=True).stdout == b"1\n"

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(once, range(PROGRAMS)))


def prepare() -> Sides:
    """Both, the sandbox found and its programs known."""
    graded(jobs(ADD, CallCase("add", (2, 3), expected=5), 4))
    return black_box, bare


def per_second(work: list[Job], units: int) -> float:
    """Units a second, the median of three."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        graded(work)
        times.append(time.perf_counter() - start)
    return round(units / sorted(times)[1], 1)


def others() -> dict[str, Any]:
    """Programs a second with tests in a process of their own and with printed output; cells a second of one program."""
    many = [CallCase("add", (n, 1), expected=n + 1) for n in range(CELLS)]
    runs = [StdinCase(f"{n}\n", f"{n + 1}\n") for n in range(CELLS)]
    asserts = [AssertCase(f"assert add({n}, 1) == {n + 1}") for n in range(CELLS)]
    return {
        "tier": Sandbox.best().tier,
        "workers": WORKERS,
        "programs_per_second_two_process": per_second(jobs(ADD, AssertCase("assert add(2, 3) == 5")), PROGRAMS),
        "programs_per_second_output": per_second(jobs(PRINT, StdinCase("2\n", "3\n")), PROGRAMS),
        "cells_per_second_calls": per_second([Job(ADD, many)], CELLS),
        "cells_per_second_output": per_second([Job(PRINT, runs)], CELLS),
        "cells_per_second_asserts": per_second([Job(ADD, asserts)], CELLS),
    }


def figures(measured: list[dict[str, Any]], device: str) -> dict[str, Any]:
    """Programs a second, ours and bare."""
    return {
        f"programs_per_second_{side}": [round(PROGRAMS / second, 1) for one in measured for second in one[f"{key}_s"]]
        for side, key in (("black_box", "ours"), ("bare", "peer"))
    }


ROW = Row(
    name="sandbox_grading",
    work=f"{PROGRAMS} programs graded black-box by one call each, in the best sandbox, {WORKERS} workers",
    peer="python",
    settings=f"-I -S, a bare interpreter started {PROGRAMS} times to print a number, {WORKERS} workers, no sandbox",
    prepare=prepare,
    reach=round(REACH, 2),
    runs=5,
    threads=(2,),
    extra=others,
    figures=figures,
)
