"""Programs and solutions that people and models wrote, where they are at hand."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from reward_models.data import load_prompts
from reward_models.errors import ModelError
from reward_models.verifiable import UnitTests, VeRPO
from reward_models.verifiable.pass_matrix import pass_matrix
from tests.test_module_graph import ROOT

DATA = Path(os.environ.get("PREFOPT_REAL_DATA", ROOT.parent / "shared" / "data"))
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real data at {DATA}; set PREFOPT_REAL_DATA")


def verifier(tier: str | None = None, **settings: float) -> UnitTests:
    """In that tier; the test is skipped where it does not work."""
    try:
        return UnitTests(tier=tier, **settings)
    except ModelError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("tier", ["bwrap", "landlock"])
def test_canonical_solutions_pass(tier: str) -> None:
    """All 164 of HumanEval in both tiers; with a body that does nothing, none does."""
    rows = load_prompts(DATA / "humaneval/HumanEval.jsonl.gz")
    unit_tests = verifier(tier)
    judged = unit_tests.judge(rows["solution"], rows["tests"], rows["prefix"])
    assert [(row["task_id"], one.reason) for row, one in zip(rows, judged, strict=True) if one.score != 1] == []
    assert {one.execution.tier for one in judged if one.execution} == {tier}
    empty = unit_tests(rows["prompt"], ["    return None\n"] * len(rows), rows["tests"], rows["prefix"])
    assert empty == [0.0] * len(rows)


def test_solutions_as_a_chat_model_writes_them() -> None:
    """Whole functions in fenced blocks, after the same prefix, pass like bodies do."""
    rows = load_prompts(DATA / "humaneval/HumanEval.jsonl.gz").select(range(30))
    completions = [f"Here:\n```python\n{r['prompt']}{r['solution']}```\nDone." for r in rows]
    chats = [[{"role": "assistant", "content": completion}] for completion in completions]
    assert verifier()(rows["prompt"], chats, rows["tests"], rows["prefix"]) == [1.0] * 30


@pytest.mark.slow
def test_sanitised_mbpp() -> None:
    """415 of 427 solutions pass once their prompt is indented as they are; the data says why the others cannot.

    One has a comment without indentation, ten need an import of math that the data leaves out, and that of problem 56
    has a helper with the name of the function that is asked for.
    """
    from scripts.verifiable_real.mbpp import measure

    verifier()
    found = measure()
    assert (found["problems"], found["passed"]) == (427, 415)
    reasons = [reason for reason in found["failed"].values() if "name 'math' is not defined" not in reason]
    assert len(found["failed"]) - len(reasons) == 10
    assert [name for name, reason in found["failed"].items() if reason in reasons] == ["MbppEval/56", "MbppEval/64"]


@pytest.mark.slow
def test_mutants_fail() -> None:
    """One token changed: nine programs of ten fail, and in all but a few problems at least one does."""
    from scripts.verifiable_real.humaneval import measure

    found = measure()["mutants"]
    assert found["share_that_fails"] > 0.85
    assert found["problems_where_one_fails"] >= 156
    assert found["unscored"] == 0


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bwrap") is None, reason="the plain interpreter beside it runs in bubblewrap")
def test_agreement_with_a_plain_interpreter() -> None:
    """400 programs of a code model for four problems: the same verdicts, nothing left behind, pass@1 as in the data."""
    verifier()
    from scripts.verifiable_real import codet, plain

    found = codet.measure(4)
    beside = plain.measure(found)
    assert found["programs"] == beside["programs"] == 400
    assert beside["disagreements"] == []
    assert beside["ended_normally"] > 380
    assert found["files_written_outside"] == []
    assert set(found["leaked"].values()) == {0}


def test_verpo_on_model_written_asserts() -> None:
    """Asserts of very different difficulty: a matrix without gaps, and the weight falls as more programs pass.

    Among tests whose density is about the same the order is that of difficulty alone, exp(-2 q): the test with the
    smallest pass rate above 0 weighs more than the one with the largest.
    """
    from scripts.verifiable_real.programs import cut, problems, written, written_asserts

    unit_tests = verifier(timeout=2.0)
    row = next(row for row, problem in enumerate(problems()) if problem.name == "HumanEval/0")
    problem, programs = problems()[row], [cut(one) for one in written()[row][:40]]
    tests = json.dumps([{"assert": one} for one in written_asserts(problem, row, 12)])
    matrix = pass_matrix(unit_tests.results(programs, programs, [tests] * 40, [problem.prefix] * 40))
    assert matrix.shape == (40, 12)
    assert not matrix.isnan().any()
    found = VeRPO()(matrix).tests
    rates = found.pass_rates
    assert rates.max() > rates.min()
    hardest, easiest = rates.argmin(), rates.argmax()
    assert found.difficulty[hardest] > found.difficulty[easiest]
