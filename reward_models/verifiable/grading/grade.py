"""Grade many programs at once."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from reward_models.verifiable.grading.blackbox_calls import grade_calls
from reward_models.verifiable.grading.blackbox_output import grade_output
from reward_models.verifiable.grading.breaker import BREAKER, Breaker
from reward_models.verifiable.grading.cache import CACHE, Cache, key_of
from reward_models.verifiable.grading.cases import (
    UNGRADED,
    AssertCase,
    CallCase,
    CheckCase,
    Execution,
    Graded,
    Job,
    StdinCase,
)
from reward_models.verifiable.grading.cells import Cell
from reward_models.verifiable.grading.conversation import CancelledError, Confines, Ground
from reward_models.verifiable.grading.same_process import grade_together
from reward_models.verifiable.grading.two_process import grade_tests
from reward_models.verifiable.sandbox.limits import Limits
from reward_models.verifiable.sandbox.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable

Mode = Literal["separate", "same_process"]
TRIES = 2


def grade(
    jobs: Sequence[Job],
    sandbox: Confines | None = None,
    workers: int | None = None,
    mode: Mode = "separate",
    *,
    limits: Limits | None = None,
    job_seconds: float = 60.0,
    cache: Cache | None = CACHE,
    breaker: Breaker | None = BREAKER,
    allow_unsafe: bool = False,
) -> list[Graded]:
    """Return the verdicts of each job, in the order of jobs.

    Data cases (StdinCase, CallCase) are always graded black-box, test code (AssertCase, CheckCase) with program and
    tests in two processes. Equal jobs are graded once. A job that the sandbox failed is tried once more; then its cells
    are None.

    Args:
        jobs: programs with their cases.
        sandbox: where they run; None = the best of this machine.
        workers: jobs at a time; None = as many as there are cores.
        mode: "same_process" runs test code and program in one process, for tests that need the program's own objects;
            such a program can forge its verdicts, and ``Execution.mode`` says so.
        limits: of each process; ``wall_seconds`` and ``cpu_seconds`` are raised to ``job_seconds``.
        job_seconds: for all cases of a job together; a case that is not reached by then is False.
        cache, breaker: shared by all calls unless given; None = none.
        allow_unsafe: run without containment where no sandbox works.

    Raises:
        SandboxUnavailable: no sandbox works here. JobError: arguments or expected values are no plain data.
        GradingStopped: the sandbox failed for too many programs.
    """
    sandbox = sandbox or Sandbox.best(allow_unsafe=allow_unsafe)
    seconds = job_seconds + 5.0
    limits = replace(limits or Limits(), wall_seconds=seconds, cpu_seconds=seconds)
    keys = [key_of(job, sandbox.tier, mode, limits, job_seconds) for job in jobs]
    known = {key: kept for key in dict.fromkeys(keys) if cache is not None and (kept := cache.get(key)) is not None}
    open_jobs = {key: job for key, job in zip(keys, jobs, strict=True) if key not in known}
    cancelled = threading.Event()

    def work(key: str, job: Job) -> tuple[str, Graded]:
        graded = grade_job(job, lambda: Ground(sandbox, limits, time.monotonic() + job_seconds, cancelled), mode)
        if breaker is not None:
            failed = "infra" in graded.statuses
            breaker.count(graded.execution.reason if failed else None)
        if cache is not None:
            cache.put(key, graded)
        return key, graded

    pool = ThreadPoolExecutor(max(1, workers or os.cpu_count() or 1), thread_name_prefix="grading")
    try:
        futures = [pool.submit(work, key, job) for key, job in open_jobs.items()]
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        known |= dict(future.result() for future in done)
    finally:
        # Also on KeyboardInterrupt: what runs notices within a moment and kills its processes.
        cancelled.set()
        pool.shutdown(wait=True, cancel_futures=True)
    return [known[key] for key in keys]


def grade_job(job: Job, ground: Callable[[], Ground], mode: Mode = "separate") -> Graded:
    """Grade one job on a ground, and once more on a new one if the sandbox failed."""
    reason = ""
    for _ in range(TRIES):
        place = ground()
        try:
            return summary(job, place, cells_of(place, job, mode), mode)
        except CancelledError:
            raise
        except Exception as error:
            # Whatever it is, a program shall not end the run, nor get a verdict from it; the breaker counts it.
            reason = f"{type(error).__name__}: {error}"
    return summary(job, place, [Cell("infra", reason)] * len(job.cases), mode)


def cells_of(ground: Ground, job: Job, mode: Mode) -> list[Cell]:
    """Return the cell of each case, in order, each kind by its grader."""
    cells: dict[int, Cell] = {}
    graders: Mapping[Any, Callable[..., dict[int, Cell]]] = {
        CallCase: grade_calls,
        StdinCase: grade_output,
        (AssertCase, CheckCase): grade_together if mode == "same_process" else grade_tests,
    }
    for kind, grader in graders.items():
        chosen = {index: case for index, case in enumerate(job.cases) if isinstance(case, kind)}
        if chosen:
            cells |= grader(ground, job, chosen)
    return [cells[index] for index in range(len(job.cases))]


def summary(job: Job, ground: Ground, cells: Sequence[Cell], mode: Mode) -> Graded:
    """Return a job's verdicts and account."""
    verdicts = tuple(cell.verdict for cell in cells)
    failed = [cell for cell in cells if cell.status not in ("ok", *UNGRADED)]
    ungraded = sorted((cell for cell in cells if cell.status in UNGRADED), key=lambda cell: cell.status != "infra")
    decisive = next(iter([*failed, *ungraded]), Cell("ok"))
    kinds = {type(case) for case in job.cases}
    code_mode = "same_process" if mode == "same_process" else "two_process"
    modes = ["blackbox"] * bool(kinds & {StdinCase, CallCase}) + [code_mode] * bool(kinds & {AssertCase, CheckCase})
    execution = Execution(
        status=decisive.status,
        passed=verdicts.count(True),
        total=len(cells),
        wall_ms=ground.used.wall_ms,
        cpu_ms=ground.used.cpu_ms,
        peak_kb=ground.used.peak_kb,
        stdout=ground.used.stdout,
        tier=ground.sandbox.tier,
        mode="+".join(modes),
        reason=decisive.reason,
    )
    return Graded(verdicts, execution, tuple(cell.status for cell in cells))
