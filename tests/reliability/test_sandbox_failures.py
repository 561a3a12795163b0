"""Sandboxes that die, and machines that run out of memory: a right verdict or None, and never a program's fault."""

from __future__ import annotations

import math
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from prefopt.trainers.rewards.answers import BY_INFRASTRUCTURE, BY_UNGRADABLE, SCORED
from prefopt.trainers.rewards.scores import Completions, RewardSourceError, scores_and_failures
from prefopt.trainers.rewards.source import RewardSource
from reward_models.clock import Clock
from reward_models.failures import InfrastructureError, Ungradable
from reward_models.verifiable import ExactAnswer, HybridReward, MathAnswer, UnitTests, math_process
from reward_models.verifiable.grading.breaker import GradingStopped
from reward_models.verifiable.sandbox import Sandbox, SandboxUnavailable, memory, process
from scripts.faults import rewards as faults

ADD, WRONG = "def add(a, b):\n    return a + b\n", "def add(a, b):\n    return a - b\n"
CASES = [{"function": "add", "args": [2, 3], "expected": 5}]


@pytest.fixture(scope="module", autouse=True)
def sandbox() -> Sandbox:
    """The machine's own."""
    try:
        return Sandbox.best()
    except SandboxUnavailable as error:
        pytest.skip(f"no sandbox works here: {error}")


def unit_tests(sandbox: Any, **settings: Any) -> UnitTests:
    """The verifier in this sandbox."""
    found = UnitTests(**settings)
    found.__dict__["sandbox"] = sandbox
    return found


def ask(source: Any, completions: list[str], **columns: list[Any]) -> tuple[list[Any], list[int], dict[str, str]]:
    """Scores, kinds and last failures as a trainer sees them; pauses take no time."""
    batch = Completions(["?"] * len(completions), completions, columns)
    found = scores_and_failures([RewardSource(source, ("tests",))], batch, Clock(sleep=lambda seconds: None))
    values = [None if math.isnan(value) else value for value in found.values[:, 0].tolist()]
    return values, found.kinds.flatten().tolist(), found.failures


def endless(number: int) -> str:
    """A program that takes half a second, so that its sandbox can be killed under it; each another one."""
    return f"import time\nTOKEN = {number}\ndef add(a, b):\n    time.sleep(0.5)\n    return a + b\n"


def test_a_sandbox_that_always_dies(sandbox: Sandbox) -> None:
    """Two tries within the grader, three calls: six launchers killed, and then None by infrastructure, never 0."""
    fragile = faults.FragileSandbox(sandbox, 0, 1.0)
    scores, kinds, failures = ask(unit_tests(fragile), [endless(1)], tests=[CASES])
    assert (scores, kinds) == ([None], [BY_INFRASTRUCTURE])
    assert "the sandbox's launcher ended" in failures["tests"]
    assert fragile.killed == 6


def test_a_sandbox_that_is_killed_midway(sandbox: Sandbox) -> None:
    """It dies under the first two starts. Both tries of a program fail, it is asked again alone, and gets its score; a
    wrong one gets its 0, and a row with unreadable tests is ungradable from the first."""
    fragile = faults.FragileSandbox(sandbox, 0, 1.0)
    # One to decide, one for when, each time.
    draws = iter([0.0] * 4)
    fragile.random.random = lambda: next(draws, 1.0)  # type: ignore[method-assign]
    programs = [endless(2), WRONG + "# 2", ADD]
    scores, kinds, failures = ask(unit_tests(fragile, workers=1), programs, tests=[CASES, CASES, [{"asert": "1"}]])
    assert (scores, kinds) == ([1.0, 0.0, None], [SCORED, SCORED, BY_UNGRADABLE])
    assert "row 3, test 1: unknown key 'asert'" in failures["tests"]
    assert fragile.killed == 2


def test_too_many_failures_stop_the_run() -> None:
    """What the grader says then is the message; no row is looked for."""

    def stopped(prompts: Any, completions: Any) -> list[float]:
        raise GradingStopped("the sandbox failed for 15 of the last 50 programs")

    with pytest.raises(
        RewardSourceError, match=r"'tests' has stopped: the sandbox failed for 15 of the last 50 pro\w+$"
    ):
        ask(stopped, [ADD])


def test_memory_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that ends by SIGKILL has failed, unless the kernel killed for want of memory meanwhile: then None."""
    suicide = "import os\ndef add(a, b):\n    os.kill(os.getpid(), 9)\n# {}\n"
    verifier = UnitTests()
    assert ask(verifier, [suicide.format(1)], tests=[CASES])[:2] == ([0.0], [SCORED])
    counts = iter(range(1000))
    monkeypatch.setattr(process, "out_of_memory_kills", lambda: next(counts))
    scores, kinds, failures = ask(verifier, [suicide.format(2)], tests=[CASES])
    assert (scores, kinds) == ([None], [BY_INFRASTRUCTURE])
    assert "the machine ran out of memory, and its killer chose this program" in failures["tests"]
    assert ask(verifier, [WRONG + "# memory"], tests=[CASES])[:2] == ([0.0], [SCORED])


def test_the_kernels_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line of many; 0 where there is none."""
    file = tmp_path / "vmstat"
    monkeypatch.setattr(memory, "COUNTERS", file)
    assert memory.out_of_memory_kills() == 0
    file.write_text("nr_free_pages 7\noom_kill 3\nnuma_hit 9\n")
    assert memory.out_of_memory_kills() == 3


def test_a_comparison_that_the_machine_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that compares formulas is killed as it reads the reference, and once more: a reference that does this
    by itself cannot be graded by; where the kernel killed for want of memory, it is nobody's fault. Rows without a
    reference are plainly None, unreadable ones ungradable."""
    pytest.importorskip("math_verify")
    compare = math_process.Checker.compare

    def killed(self: Any, gold: Any, answer: Any, seconds: float) -> Any:
        if answer.text == "x^2+1":
            os.kill(self._process.pid, signal.SIGKILL)
        return compare(self, gold, answer, seconds)

    monkeypatch.setattr(math_process.Checker, "compare", killed)
    verifier = MathAnswer(workers=1)
    texts = [r"\boxed{x^2+1}", r"\boxed{x+1}", r"\boxed{1}", r"\boxed{1}"]
    answers = ["x^2+2", "1+x", "", r"\boxed{}"]
    found = verifier.with_failures(["?"] * 4, texts, answers)
    assert isinstance(found[0], Ungradable)
    assert str(found[0]) == "reference: the process ended"
    kinds = [BY_UNGRADABLE, SCORED, BY_UNGRADABLE, BY_UNGRADABLE]
    assert ask(verifier, texts, answer=answers)[:2] == ([None, 1.0, None, None], kinds)
    counts = iter(range(1000))
    monkeypatch.setattr(math_process, "out_of_memory_kills", lambda: next(counts))
    found = verifier.with_failures(["?"] * 4, texts, answers)
    assert isinstance(found[0], InfrastructureError)
    assert found[1:3] == [1.0, None]
    assert isinstance(found[3], Ungradable)
    assert verifier(["?"] * 4, texts, answers) == [None, 1.0, None, None]
    math_process.end_all()


def test_verifiers_that_ask_others() -> None:
    """A failure of a part is None in its column, and no number; the other column is there."""

    def soft(prompts: Any, completions: Any) -> list[Any]:
        return [InfrastructureError("away"), 0.5, Ungradable("nothing")]

    hybrid = HybridReward(rule=ExactAnswer(), model=soft)
    found = hybrid(["?"] * 3, ["so 1", "so 2", "so 3"], answer=["1", None, None])
    assert [row[0] for row in found] == [1.0, 0.5, None]


def test_programs_under_fire() -> None:
    """24 programs, two fifths of all launchers killed while they run: verdicts are right or None."""
    found = faults.grade_under_fire(seed=3, programs=24)
    assert (found.tried, found.held, found.lost) == (24, 24, 0)
