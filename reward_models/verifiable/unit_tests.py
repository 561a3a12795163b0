"""Whether a completion's program passes its tests."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from reward_models.errors import DataError, ModelError
from reward_models.failures import Failure, InfrastructureError, Ungradable
from reward_models.formatting import Text
from reward_models.patience import Patience
from reward_models.verifiable.code_blocks import program_of
from reward_models.verifiable.grading import Execution, Graded, Job, grade
from reward_models.verifiable.grading.cache import JobError, key_of
from reward_models.verifiable.grading.grade import Mode
from reward_models.verifiable.pass_scores import SCORES
from reward_models.verifiable.sandbox import Limits, RemoteSandbox, Sandbox, SandboxUnavailable
from reward_models.verifiable.tests_column import NO_TESTS, RowTests, read_tests
from reward_models.verifiable.texts import text_of

LOG = logging.getLogger(__name__)
MODES = ("separate", "same_process")


@dataclass(frozen=True)
class Judged:
    """A completion's verdicts: one a test, True, False, or None where the grader and not the program is the reason.

    ``reason`` says why there is no score, or what the first failure was. ``execution`` is None where nothing was run.
    ``failure``: the same as a failure, where it is neither the program's fault nor the lack of any tests.
    """

    score: float | None
    cells: tuple[bool | None, ...]
    reason: str = ""
    execution: Execution | None = None
    failure: Failure | None = None


@dataclass(frozen=True)
class UnitTests:
    """``r_i = 1 if completion i's program passes all its tests else 0``, or another score of its row of verdicts.

    The program is the last fenced Python block of a completion, or the whole of it where there is none. It runs in a
    sandbox, and its tests where it cannot reach them; see `reward_models.verifiable.sandbox` and
    `reward_models.verifiable.grading`. A wrong answer, a crash, a deadline or too much memory fail a test. Whatever is
    not the program's fault leaves it unjudged, and the score None where it depends on it: a row without tests, or with
    tests that cannot be read; a sandbox that fails; a test that cannot be put to a program in another process.
    `with_failures` tells which: a sandbox that fails is infrastructure and asked again, the rest is ungradable.

    Attributes:
        score: ``strict`` (all tests), ``fraction`` (share of them), or ``strict_plus_tenth`` (strict + fraction / 10).
        timeout: seconds a test, where the test does not say. suite_timeout: for all tests of a program together; a test
            that is not reached by then fails.
        memory_mb: address space of a process.
        tolerance: absolute or relative, for numbers in data tests; None compares exactly.
        mode: ``separate`` keeps the verdict out of the program's reach; ``same_process`` does not, for tests that need
            the program's own objects.
        tier: of the sandbox; None = the strongest that works here.
        remote: address of an executor on another machine that runs the programs instead, see docs/sandbox.md; it grades
            data tests, and leaves test code unjudged.
        allow_unsafe: run programs without containment where no tier works. They can do whatever you can.
        workers: programs at a time; None = as many as there are cores.

    Columns: ``tests``, a list of dicts or its JSON text, see `reward_models.verifiable.tests_column`; optionally
    ``prefix``, code that stands before the program (a HumanEval prompt, which a completion goes on from).

    Raises:
        ModelError: when built, for settings without sense, or where nothing contains programs here. `check_rows` raises
            `DataError` for a test of no known kind; it names row, test and key.
    """

    score: str = "strict"
    timeout: float = 10.0
    suite_timeout: float = 60.0
    memory_mb: int = 1024
    tolerance: float | None = None
    mode: Mode = "separate"
    tier: str | None = None
    remote: str | None = None
    allow_unsafe: bool = False
    workers: int | None = None

    patience: ClassVar[Patience] = Patience(row_wise=True, retries=2)

    def __post_init__(self) -> None:
        if self.score not in SCORES:
            raise ModelError(f"unit_tests: score '{self.score}' is unknown; choose one of {', '.join(SCORES)}")
        for name in ("timeout", "suite_timeout", "memory_mb"):
            if not getattr(self, name) > 0:
                raise ModelError(f"unit_tests: {name} must be positive, not {getattr(self, name)}")
        if self.tolerance is not None and not self.tolerance >= 0:
            raise ModelError(f"unit_tests: tolerance must not be negative, but is {self.tolerance}")
        if self.mode not in MODES:
            raise ModelError(f"unit_tests: mode '{self.mode}' is unknown; choose one of {', '.join(MODES)}")
        if self.workers is not None and self.workers < 1:
            raise ModelError(f"unit_tests: workers must be at least 1, not {self.workers}")
        if self.remote is not None and self.tier is not None:
            raise ModelError("unit_tests: remote and tier exclude each other; give one of them")
        self.sandbox  # noqa: B018  a machine without one is refused now, before any model is loaded

    @cached_property
    def sandbox(self) -> Sandbox | RemoteSandbox:
        """Where programs run."""
        try:
            if self.remote is not None:
                executor = RemoteSandbox(self.remote)
                executor.check()
                return executor
            if self.tier is not None:
                return Sandbox.named(self.tier, allow_unsafe=self.allow_unsafe)
            return Sandbox.best(allow_unsafe=self.allow_unsafe)
        except SandboxUnavailable as error:
            raise ModelError(f"unit_tests: {error}") from None

    def __call__(
        self,
        prompts: Sequence[Text],
        completions: Sequence[Text],
        tests: Sequence[Any],
        prefix: Sequence[str | None] | None = None,
    ) -> list[float | None]:
        """Return one score a completion."""
        return [judged.score for judged in self.judge(completions, tests, prefix)]

    def with_failures(
        self,
        prompts: Sequence[Text],
        completions: Sequence[Text],
        tests: Sequence[Any],
        prefix: Sequence[str | None] | None = None,
    ) -> list[float | Failure | None]:
        """Return the same, with the failure in the place of None; None is a row that brings no tests."""
        return [
            one.score if one.failure is None or one.score is not None else one.failure
            for one in self.judge(completions, tests, prefix)
        ]

    def results(
        self,
        prompts: Sequence[Text],
        completions: Sequence[Text],
        tests: Sequence[Any],
        prefix: Sequence[str | None] | None = None,
    ) -> list[list[bool | None]]:
        """Return the pass matrix, a row a completion and a cell a test; rows may differ in length."""
        return [list(judged.cells) for judged in self.judge(completions, tests, prefix)]

    def check_rows(self, tests: Sequence[Any]) -> None:
        """Read the tests of all rows. Raises ``DataError`` for the first that no kind fits."""
        for number, one in enumerate(tests, start=1):
            read_tests(one, f"tests, row {number}")

    def judge(
        self, completions: Sequence[Text], tests: Sequence[Any], prefix: Sequence[str | None] | None = None
    ) -> list[Judged]:
        """Return everything that is known of each completion."""
        before = list(prefix) if prefix is not None else [None] * len(completions)
        rows = [
            (text_of(completion), self._read(one, number), start or "")
            for number, (completion, one, start) in enumerate(zip(completions, tests, before, strict=True), start=1)
        ]
        graded = iter(self._graded([self._job(text, read, start) for text, read, start in rows if read.cases]))
        judged = [self._judged(next(graded)) if read.cases else _unread(read) for _, read, _ in rows]
        _report(judged)
        return judged

    def _read(self, tests: Any, number: int) -> RowTests:
        try:
            read = read_tests(tests, f"tests, row {number}", self.tolerance)
            key_of(Job("", read.cases))
        except (DataError, JobError) as error:
            return RowTests((), f"tests cannot be read: {error}")
        return read

    def _judged(self, graded: Graded) -> Judged:
        score, reason = SCORES[self.score](graded.cells), graded.execution.reason
        kind = InfrastructureError if "infra" in graded.statuses else Ungradable
        failure = kind(reason) if score is None else None
        return Judged(score, graded.cells, reason, graded.execution, failure)

    def _graded(self, jobs: Sequence[Job]) -> list[Graded]:
        return grade(
            jobs,
            self.sandbox,
            self.workers,
            self.mode,
            limits=Limits(memory_mb=self.memory_mb),
            job_seconds=self.suite_timeout,
        )

    def _job(self, completion: str, tests: RowTests, prefix: str) -> Job:
        program, fenced = program_of(completion)
        # A completion of bare code goes on from the middle of a line, a block of code begins one.
        between = "\n" if fenced and prefix and not prefix.endswith("\n") else ""
        return Job(prefix + between + program, tests.cases, prefix, self.timeout)


def _unread(read: RowTests) -> Judged:
    return Judged(None, (), read.reason, failure=None if read.reason == NO_TESTS else Ungradable(read.reason))


def _report(judged: Sequence[Judged]) -> None:
    reasons = Counter(one.reason or "no reason given" for one in judged if one.score is None)
    if reasons:
        listed = "; ".join(f"{reason[:200]} ({count})" for reason, count in reasons.most_common(3))
        LOG.warning("%d of %d programs have no score: %s", reasons.total(), len(judged), listed)
