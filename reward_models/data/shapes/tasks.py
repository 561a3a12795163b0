"""Prompts without preferences, with what a verifier needs: `answer`, `solution`, `tests`.

``answer`` is the short final answer and ``solution`` a full reference. ``tests`` is JSON text, for the sources differ:
``{"assertions": [...]}``, ``{"check": source, "entry_point": name}``, ``{"pytest": source}`` or
``{"inputs": [...], "outputs": [...]}`` (with ``fn_name`` where calls are tested). Other columns stay under their names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from reward_models.data.examples import Example, Row, Task
from reward_models.data.faults import RowFault
from reward_models.data.fields import conversation, present, record, remaining, text
from reward_models.data.shape import Shape

ANSWER_MARK = "####"


def question_and_answer(row: Row) -> list[Example]:
    """GSM8K: the short answer stands after ``####``, thousands separators taken out."""
    solution = text(row, "answer")
    answer = solution.rsplit(ANSWER_MARK, 1)[-1].strip().replace(",", "") if ANSWER_MARK in solution else solution
    rest = remaining(row, ("question", "answer"))
    return [Task(text(row, "question"), {**rest, "answer": answer, "solution": solution})]


def check_function(row: Row) -> list[Example]:
    """HumanEval: ``test`` defines ``check(candidate)``."""
    tests = json.dumps({"check": text(row, "test"), "entry_point": text(row, "entry_point")})
    rest = remaining(row, ("prompt", "test", "canonical_solution"))
    return [Task(text(row, "prompt"), {**rest, "solution": row.get("canonical_solution"), "tests": tests})]


def assertions(row: Row) -> list[Example]:
    """MBPP: ``test_list`` of assert statements."""
    prompt = text(row, "text") if isinstance(row.get("text"), str) else text(row, "prompt")
    tests = json.dumps({"assertions": present(row, "test_list")})
    rest = remaining(row, ("prompt", "text", "code", "test_list"))
    return [Task(prompt, {**rest, "solution": row.get("code"), "tests": tests})]


def inputs_and_outputs(row: Row) -> list[Example]:
    """APPS and TACO: ``input_output`` is JSON text with inputs and outputs."""
    tests = text(row, "input_output")
    try:
        json.loads(tests)
    except (ValueError, RecursionError):
        raise RowFault("wrong_type", "input_output", "expected JSON text") from None
    return [Task(text(row, "question"), {**remaining(row, ("question", "input_output")), "tests": tests})]


def code_contests(row: Row) -> list[Example]:
    """Public, private and generated tests, joined in this order."""
    fields = ("public_tests", "private_tests", "generated_tests")
    groups = [record(row, field) for field in fields if row.get(field) is not None]
    tests = {
        "inputs": [value for group in groups for value in group.get("input") or []],
        "outputs": [value for group in groups for value in group.get("output") or []],
    }
    rest = remaining(row, ("description", *fields))
    return [Task(text(row, "description"), {**rest, "tests": json.dumps(tests)})]


def pytest_functions(row: Row) -> list[Example]:
    """KodCode: pytest functions that import from ``solution``."""
    tests = json.dumps({"pytest": text(row, "test")})
    return [Task(text(row, "question"), {**remaining(row, ("question", "test")), "tests": tests})]


def reward_model_column(row: Row) -> list[Example]:
    """verl: ``reward_model.ground_truth`` is an answer, or JSON text of tests."""
    truth = present(record(row, "reward_model"), "ground_truth")
    answer = truth if isinstance(truth, str) else json.dumps(truth, default=str)
    return [Task(conversation(row, "prompt"), {**remaining(row, ("prompt", "reward_model")), "answer": answer})]


def messages_and_truth(row: Row) -> list[Example]:
    """open-instruct: ``ground_truth`` and the verifier's name in ``dataset``."""
    truth = present(row, "ground_truth")
    answer = truth if isinstance(truth, str) else json.dumps(truth, default=str)
    return [Task(conversation(row, "messages"), {**remaining(row, ("messages", "ground_truth")), "answer": answer})]


def stepwise_question(row: Row) -> list[Example]:
    """A question with its reference solution and answer."""
    answer = str(present(row, "ground_truth_answer"))
    solution = {"solution": row.get("ground_truth_solution"), "answer": answer}
    return [Task(text(row, "question"), solution)]


def prompt_only(row: Row) -> list[Example]:
    """``prompt`` and whatever columns stand beside it."""
    rest: dict[str, Any] = remaining(row, ("prompt",))
    return [Task(conversation(row, "prompt"), rest)]


_ANSWERED = ("chosen", "rejected", "completion", "completions", "response", "responses", "answers")

SHAPES = (
    Shape("questions with answers", ("question", "answer"), question_and_answer),
    Shape("code with a check function", ("prompt", "entry_point", "test"), check_function),
    Shape("code with assertions (text)", ("text", "test_list"), assertions),
    Shape("code with assertions", ("prompt", "test_list"), assertions),
    Shape("code with inputs and outputs", ("question", "input_output"), inputs_and_outputs),
    Shape("code contests", ("description", "public_tests"), code_contests),
    Shape("code with pytest functions", ("question", "test"), pytest_functions),
    Shape(
        "prompts with reward_model",
        ("prompt", "reward_model"),
        reward_model_column,
        lambda row: isinstance(row.get("reward_model"), Mapping),
    ),
    Shape("messages with ground truth", ("messages", "ground_truth"), messages_and_truth),
    Shape("questions with solutions", ("question", "ground_truth_solution", "ground_truth_answer"), stepwise_question),
    Shape("prompts", ("prompt",), prompt_only, without=_ANSWERED),
)
