"""The batch: order, equal jobs, the cache, failures of the sandbox, cancelling, and nothing left behind."""

from __future__ import annotations

import importlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reward_models.verifiable.grading import AssertCase, CallCase, Job, StdinCase, grade
from reward_models.verifiable.grading.breaker import Breaker, GradingStopped
from reward_models.verifiable.grading.cache import Cache, JobError, key_of
from reward_models.verifiable.sandbox import Limits, SandboxFailure
from tests.reward_models.verifiable.grading.tiers import TIERS, find, quickest


def adds(number: int, **settings: Any) -> Job:
    """A job whose only cell is True for even numbers."""
    return Job(f"def f():\n    return {number - number % 2}\n", [CallCase("f", (), expected=number)], **settings)


class Counting:
    """A sandbox that counts its starts, and fails on some of them."""

    def __init__(self, fails: Any = lambda start: False) -> None:
        self.inner, self.tier, self.fails = quickest(), "counting", fails
        self.starts = 0
        self.lock = threading.Lock()

    def start(self, program: str, limits: Limits) -> Any:
        """Start, or fail."""
        with self.lock:
            self.starts += 1
            start = self.starts
        if self.fails(start):
            raise SandboxFailure("the box is broken")
        return self.inner.start(program, limits)


def test_results_are_in_order() -> None:
    """Forty jobs on four workers, long ones among short ones: verdicts come back by place."""
    slow = "import time\ndef f(n):\n    time.sleep(0.1 if n % 7 == 0 else 0)\n    return n\n"
    jobs = [Job(slow, [CallCase("f", (n,), expected=n - n % 2)]) for n in range(40)]
    results = grade(jobs, quickest(), workers=4, cache=None)
    assert [result.cells for result in results] == [(n % 2 == 0,) for n in range(40)]


def test_nothing_to_do() -> None:
    """No jobs give no results, and a job without cases passes vacuously."""
    assert grade([], quickest()) == []
    (empty,) = grade([Job("1 / 0", [])], quickest(), cache=None)
    assert (empty.cells, empty.execution.status, empty.execution.total) == ((), "ok", 0)


def test_equal_jobs_are_graded_once() -> None:
    """Three equal jobs are one process; a later call takes their verdicts from the cache, until it forgets them."""
    sandbox, cache = Counting(), Cache(size=2)
    results = grade([adds(2), adds(2), adds(3), adds(2)], sandbox, cache=cache)
    assert [result.cells for result in results] == [(True,), (True,), (False,), (True,)]
    assert sandbox.starts == 2
    assert grade([adds(2), adds(3)], sandbox, cache=cache) == [results[0], results[2]]
    assert sandbox.starts == 2
    grade([adds(4), adds(5)], sandbox, cache=cache)
    assert sandbox.starts == 4
    grade([adds(2)], sandbox, cache=cache)
    assert sandbox.starts == 5


def test_whatever_decides_a_verdict_is_part_of_the_key() -> None:
    """Code, cases, types of values, setup, time and settings all make another job; order of keys in a dict as well."""
    case = CallCase("f", (1,), expected=1)
    jobs = [
        Job("a", [case]),
        Job("b", [case]),
        Job("a", [case, case]),
        Job("a", [CallCase("f", (True,), expected=1)]),
        Job("a", [CallCase("f", (1.0,), expected=1)]),
        Job("a", [CallCase("f", (1,), expected=1.0)]),
        Job("a", [CallCase("f", (1,), expected=1, tolerance=0.1)]),
        Job("a", [CallCase("f", (1,), expected=1, timeout=1.0)]),
        Job("a", [CallCase("f", ((1,),), expected=1)]),
        Job("a", [CallCase("f", ([1],), expected=1)]),
        Job("a", [StdinCase("f", "1")]),
        Job("a", [AssertCase("f")]),
        Job("a", [case], setup="x"),
        Job("a", [case], timeout=1.0),
        Job("a", [case], fresh=True),
    ]
    keys = [key_of(job, "tier") for job in jobs] + [key_of(jobs[0], "other")]
    assert len(set(keys)) == len(keys)


def test_a_case_that_is_no_data_is_refused_before_anything_runs() -> None:
    """The error names case and field."""
    with pytest.raises(JobError, match=r"case 1, args: builtins\.object is not plain data"):
        grade([Job("", [CallCase("f"), CallCase("f", (object(),))])], quickest())


def test_a_failure_of_the_sandbox_is_tried_once_more() -> None:
    """Every first start fails: all jobs have verdicts. Every start fails: None, with the reason, and not kept."""
    often = Counting(lambda start: start % 2 == 1)
    assert [one.cells for one in grade([adds(n) for n in range(4)], often, workers=1, cache=None)] == [
        (True,),
        (False,),
        (True,),
        (False,),
    ]
    cache = Cache()
    always = Counting(lambda start: True)
    (result,) = grade([Job("", [CallCase("f"), AssertCase("f()")])], always, cache=cache, breaker=None)
    assert (result.cells, result.ungraded, result.statuses) == ((None, None), 2, ("infra", "infra"))
    assert result.execution.status == "infra"
    assert result.execution.reason == "SandboxFailure: the box is broken"
    assert always.starts == 2
    grade([Job("", [CallCase("f"), AssertCase("f()")])], always, cache=cache, breaker=None)
    assert always.starts == 4


def test_a_fault_of_the_grader_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong with one program out here, it has no verdict, and the others have theirs."""
    graders = importlib.import_module("reward_models.verifiable.grading.grade")
    grade_calls = graders.grade_calls

    def faulty(ground: Any, job: Job, cases: Any) -> Any:
        if "upsets" in job.code:
            raise RecursionError("too much")
        return grade_calls(ground, job, cases)

    monkeypatch.setattr(graders, "grade_calls", faulty)
    upsetting = Job("# upsets the grader", [CallCase("f")])
    first, second = grade([upsetting, adds(2)], quickest(), cache=None, breaker=Breaker())
    assert (first.cells, first.execution.reason, second.cells) == ((None,), "RecursionError: too much", (True,))


def test_the_run_stops_where_the_sandbox_fails_too_often() -> None:
    """Of 60 jobs 15 fail, after 35 that did not: at the 50th 15 of 50 (30%) have failed, more than 20%."""
    breaker = Breaker(share=0.2, least=50)
    broken = Counting(lambda start: start > 35)
    with pytest.raises(GradingStopped, match=r"15 of the last 50 programs \(30%.*the box is broken"):
        grade([adds(n) for n in range(60)], broken, workers=1, cache=None, breaker=breaker)
    assert grade([adds(2)], quickest(), cache=None, breaker=breaker)[0].cells == (True,)


def test_the_breaker_counts_over_calls_and_forgets() -> None:
    """Ten failures in fifty are a fifth, not more; the eleventh in fifty-one is. Old ones fall out of the window."""
    breaker = Breaker(share=0.2, least=50, window=60)
    for number in range(50):
        breaker.count("first" if number == 0 else "later" if number < 10 else None)
    with pytest.raises(
        GradingStopped, match=r"11 of the last 51 programs \(22%, more than 20%\); the first reason: first"
    ):
        breaker.count("later")
    for number in range(500):
        breaker.count("rare" if number % 10 == 0 else None)


def test_an_ungradable_test_is_not_the_sandboxes_fault() -> None:
    """Sixty programs with objects that can't be compared stop nothing."""
    code = "class A:\n    def __eq__(self, other):\n        return True\ndef f():\n    return A()\n"
    jobs = [Job(code + f"# {n}\n", [AssertCase("assert f() == 1")]) for n in range(60)]
    assert all(one.cells == (None,) for one in grade(jobs, quickest(), breaker=Breaker(), cache=None))


def test_cancelling_ends_everything() -> None:
    """A KeyboardInterrupt while endless programs run: they are gone at once, in a moment and not at their deadline."""
    before = children()
    endless = [Job(f"while True:\n    pass  # {n}\n", [CallCase("f")], timeout=20.0) for n in range(4)]
    thread_id = threading.get_ident()
    timer = threading.Timer(0.7, lambda: interrupt(thread_id))
    start = time.monotonic()
    # A shell starts what runs in its background with SIGINT ignored.
    before_handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            grade(endless, quickest(), workers=2, cache=None)
    finally:
        signal.signal(signal.SIGINT, before_handler)
    assert time.monotonic() - start < 5.0
    assert not busy(children() - before)


def interrupt(thread_id: int) -> None:
    """What Ctrl-C does in the main thread."""
    signal.pthread_kill(thread_id, signal.SIGINT)


def children() -> set[int]:
    """Processes below this one, theirs included."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found: set[int] = set()
    waiting = [os.getpid()]
    while waiting:
        below = parents.get(waiting.pop(), [])
        found.update(below)
        waiting += below
    return found


def busy(processes: set[int]) -> set[int]:
    """Those that use processor time within a tenth of a second."""

    def ticks() -> Iterator[tuple[int, int]]:
        for process in processes:
            try:
                fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            yield process, int(fields[11]) + int(fields[12])

    first = dict(ticks())
    time.sleep(0.1)
    return {process for process, now in ticks() if now > first[process] + 2}


def test_two_calls_at_once() -> None:
    """Calls of several threads don't mix."""
    results: dict[int, list[tuple[bool | None, ...]]] = {}

    def work(base: int) -> None:
        jobs = [adds(base + n) for n in range(10)]
        results[base] = [result.cells for result in grade(jobs, quickest(), workers=2, cache=None)]

    threads = [threading.Thread(target=work, args=(base,)) for base in (0, 100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {base: [(n % 2 == 0,) for n in range(10)] for base in (0, 100, 200)}


@pytest.mark.slow
@pytest.mark.parametrize("tier", TIERS)
def test_two_hundred_jobs_leave_nothing(tier: str) -> None:
    """No descriptor, thread, process, zombie or file is left by 200 jobs of all kinds, and memory does not grow."""
    sandbox = find(tier)

    def batch(round_: int) -> None:
        kinds = [
            lambda n: adds(n),
            lambda n: Job(f"def f():\n    return {n}\n", [AssertCase(f"assert f() == {n}")]),
            lambda n: Job("print(int(input()))\n", [StdinCase(f"{n}", f"{n}"), StdinCase("1", "2")]),
            lambda n: Job(f"import os\ndef f():\n    os._exit({n % 3})\n", [CallCase("f")] * 2),
            lambda n: Job(f"def f():\n    while True:\n        print('x' * 9999, {n})\n", [CallCase("f")]),
        ]
        grade([kinds[n % 5](round_ * 1000 + n) for n in range(100)], sandbox, workers=3, cache=None)

    def state() -> tuple[int, int, int, set[str]]:
        left = {name for folder in ("/tmp", "/dev/shm") for name in os.listdir(folder)}
        return len(os.listdir("/proc/self/fd")), threading.active_count(), len(children()), left

    batch(0)
    before, memory = state(), resident_kb()
    batch(1)
    batch(2)
    after = state()
    assert after[:2] == before[:2]
    assert after[2] <= before[2]
    assert not {name for name in after[3] - before[3] if "sandbox" in name or "grading" in name or "prefopt" in name}
    assert resident_kb() - memory < 20_000


def resident_kb() -> int:
    """Resident memory of this process."""
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmRSS" in line)
