"""No trick earns a pass: the integrity half of the hostile programs, on each tier, in both graders."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from reward_models.verifiable.grading import AssertCase, CallCase, Case, CheckCase, Graded, Job, grade
from reward_models.verifiable.sandbox.interpreter import find_interpreter
from tests.reward_models.verifiable.grading.hostile import BY_ORDER, HONEST, HOSTILE, ORDERED, SECRET, Hostile
from tests.reward_models.verifiable.grading.tiers import TIERS, find

NOBODY = 65534
HERE = Path(__file__).parent
CANARY = Path("/tmp/grading-canary")
PAIRS = [(2, 3), (SECRET // 2, SECRET // 2)]
CALLS: list[Case] = [CallCase("add", pair, expected=sum(pair)) for pair in PAIRS]
ASSERTS: list[Case] = [
    AssertCase(f"assert add({SECRET // 2}, {SECRET // 2}) == {SECRET}"),
    CheckCase(f"def check(candidate):\n    assert candidate({SECRET // 2}, {SECRET // 2}) == {SECRET}", "add"),
]
# Writes a file that the next tier's run would find; only a tier that contains programs prevents that.
NEEDS_CONTAINMENT = {"drops modules"}


@pytest.fixture(scope="module", params=TIERS)
def graded(request: pytest.FixtureRequest) -> Iterator[dict[tuple[str, str], Graded]]:
    """All hostile programs of a tier, graded in one batch."""
    CANARY.unlink(missing_ok=True)
    jobs = {
        (one.name, mode): Job(one.code, cases, timeout=1.0)
        for one in HOSTILE
        if request.param != "none" or one.name not in NEEDS_CONTAINMENT
        for mode, cases in (("blackbox", CALLS), ("two_process", ASSERTS))
    }
    results = grade(list(jobs.values()), find(request.param), workers=4, cache=None)
    yield dict(zip(jobs, results, strict=True))
    assert not CANARY.exists()


@pytest.mark.parametrize("mode", ["blackbox", "two_process"])
@pytest.mark.parametrize("program", HOSTILE, ids=lambda program: program.name)
def test_no_trick_passes(graded: dict[tuple[str, str], Graded], program: Hostile, mode: str) -> None:
    """No cell is True, and the job ends with a status that the program's section names."""
    if (program.name, mode) not in graded:
        pytest.skip("needs a tier that contains programs")
    result = graded[program.name, mode]
    assert True not in result.cells
    assert result.execution.status in (program.black_box if mode == "blackbox" else program.two_process)
    assert result.execution.passed == 0
    assert result.execution.mode == mode


@pytest.mark.parametrize("tier", TIERS)
def test_honest_programs_pass(tier: str) -> None:
    """What an honest program may use works in every tier, in both graders."""
    jobs = [Job(code, [*CALLS, *ASSERTS]) for code in HONEST.values()]
    results = grade(jobs, find(tier), cache=None)
    assert {name: result.cells for name, result in zip(HONEST, results, strict=True)} == dict.fromkeys(
        HONEST, (True,) * 4
    )


@pytest.mark.slow
@pytest.mark.parametrize("tier", [tier for tier in TIERS if tier != "none"])
def test_no_trick_passes_as_nobody(tier: str) -> None:
    """All of the above once more, started by an ordinary user without any capability: no verdict is another."""
    if os.geteuid() != 0:
        pytest.skip("the tests above ran as an ordinary user")
    if subprocess.run(["test", "-r", HERE / "hostile.txt"], user=NOBODY).returncode:
        pytest.skip(f"{HERE} cannot be read by another user")
    done = subprocess.run(
        [find_interpreter(NOBODY).executable, HERE / "try_hostile.py", tier],
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
        cwd="/",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {}


def test_answers_by_call_order_are_right_by_chance_alone() -> None:
    """A program that counts its calls is asked in an order of the grader's: few of eight answers fit."""
    calls = [CallCase("add", pair, expected=sum(pair)) for pair in ORDERED]
    asserts = [AssertCase(f"assert add({a}, {b}) == {a + b}") for a, b in ORDERED]
    for result in grade([Job(BY_ORDER, calls), Job(BY_ORDER, asserts)], find(TIERS[0]), cache=None):
        assert result.execution.status == "wrong"
        assert result.execution.passed < len(ORDERED) / 2
