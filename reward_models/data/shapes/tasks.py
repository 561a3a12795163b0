"""Prompts without preferences, with what a verifier needs: `answer`, `solution`, `tests`.

``answer`` is the short final answer and ``solution`` a full reference. ``tests`` is the list of dicts that `UnitTests`
reads, as JSON text: ``{"input", "output"}``, ``{"function", "args", "kwargs", "expected"}``, ``{"assert"}``, or
``{"check", "entry_point"}``. ``prefix`` is the code that a completion goes on from, where the prompt is such code.
Other columns stay under their names.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from typing import Any

from reward_models.data import code_tests
from reward_models.data.code_tests import Test, dump
from reward_models.data.examples import Example, Row, Task
from reward_models.data.faults import RowFault
from reward_models.data.fields import conversation, kind_of, present, record, remaining, text
from reward_models.data.shape import Shape
from reward_models.python_source import NO_PYTHON, parse_source

ANSWER_MARK = "####"


def question_and_answer(row: Row) -> list[Example]:
    """GSM8K: the short answer stands after ``####``, thousands separators taken out."""
    solution = text(row, "answer")
    answer = solution.rsplit(ANSWER_MARK, 1)[-1].strip().replace(",", "") if ANSWER_MARK in solution else solution
    rest = remaining(row, ("question", "answer"))
    return [Task(text(row, "question"), {**rest, "answer": answer, "solution": solution})]


def check_function(row: Row) -> list[Example]:
    """HumanEval: ``test`` defines ``check(candidate)``; a prompt that is code is what a completion goes on from."""
    prompt, entry_point = text(row, "prompt"), text(row, "entry_point").strip()
    tests: list[Test] = [{"check": text(row, "test"), "entry_point": entry_point}]
    rest = remaining(row, ("prompt", "test", "canonical_solution", "entry_point")) | {"entry_point": entry_point}
    return [
        Task(
            prompt,
            {
                **rest,
                "solution": row.get("canonical_solution"),
                "prefix": prompt if _begins_function(prompt, entry_point) else None,
                "tests": dump(tests),
            },
        )
    ]


def assertions(row: Row) -> list[Example]:
    """MBPP: ``test_list`` of assert statements, with ``test_setup_code`` or ``test_imports`` before each."""
    prompt = text(row, "text") if isinstance(row.get("text"), str) else text(row, "prompt")
    imports = row.get("test_imports") or []
    before = [*imports, row.get("test_setup_code")] if isinstance(imports, list) else [imports]
    setup = "\n".join(part for part in before if isinstance(part, str))
    tests = code_tests.assertions(present(row, "test_list"), "test_list", setup)
    used = ("prompt", "text", "code", "test_list", "test_setup_code", "test_imports")
    return [Task(prompt, {**remaining(row, used), "solution": row.get("code"), "tests": dump(tests)})]


def inputs_and_outputs(row: Row) -> list[Example]:
    """APPS and TACO: ``input_output`` is JSON text with inputs and outputs."""
    try:
        value = json.loads(text(row, "input_output"))
    except (ValueError, RecursionError):
        raise RowFault("wrong_type", "input_output", "expected JSON text") from None
    if not isinstance(value, dict):
        raise RowFault("wrong_type", "input_output", f"expected an object, found {kind_of(value)}")
    tests = code_tests.inputs_and_outputs(value, "input_output")
    return [Task(text(row, "question"), {**remaining(row, ("question", "input_output")), "tests": dump(tests)})]


def code_contests(row: Row) -> list[Example]:
    """Public, private and generated tests, joined in this order."""
    fields = ("public_tests", "private_tests", "generated_tests")
    tests: list[Test] = []
    for field in fields:
        if row.get(field) is not None:
            group = record(row, field)
            both = {"inputs": list(group.get("input") or []), "outputs": list(group.get("output") or [])}
            tests += code_tests.inputs_and_outputs(both, field)
    rest = remaining(row, ("description", *fields))
    return [Task(text(row, "description"), {**rest, "tests": dump(tests)})]


def public_and_private_tests(row: Row) -> list[Example]:
    """LiveCodeBench: JSON lists of tests; private ones are published pickled, and such rows are refused."""
    fields = ("public_test_cases", "private_test_cases")
    metadata = row.get("metadata")
    try:
        known = json.loads(metadata) if isinstance(metadata, str) else metadata
    except (ValueError, RecursionError):
        known = None
    function = known.get("func_name") if isinstance(known, dict) else None
    given = [field for field in fields if row.get(field)]
    tests = [test for field in given for test in code_tests.listed_tests(row[field], field, function)]
    rest = remaining(row, ("question_content", *fields))
    return [Task(text(row, "question_content"), {**rest, "tests": dump(tests)})]


def pytest_functions(row: Row) -> list[Example]:
    """KodCode: test functions that import from ``solution``."""
    tests = code_tests.pytest_functions(text(row, "test"), "test")
    return [Task(text(row, "question"), {**remaining(row, ("question", "test")), "tests": dump(tests)})]


def reward_model_column(row: Row) -> list[Example]:
    """verl: ``reward_model.ground_truth`` is an answer, or tests as JSON text."""
    truth = present(record(row, "reward_model"), "ground_truth")
    rest = remaining(row, ("prompt", "reward_model"))
    return [Task(conversation(row, "prompt"), {**rest, **_truth(truth, "reward_model")})]


def messages_and_truth(row: Row) -> list[Example]:
    """open-instruct: ``ground_truth``, an answer or tests, and the verifier's name in ``dataset``."""
    truth = _truth(present(row, "ground_truth"), "ground_truth")
    return [Task(conversation(row, "messages"), {**remaining(row, ("messages", "ground_truth")), **truth})]


def _truth(truth: Any, field: str) -> dict[str, Any]:
    # A list of one text is what sources with several verifiers a row write for a single one.
    one = truth[0] if isinstance(truth, list) and len(truth) == 1 and isinstance(truth[0], str) else truth
    tests = code_tests.truth_tests(one, field)
    if tests is None:
        tests = code_tests.truth_tests(truth, field)
    if tests is not None:
        return {"tests": dump(tests)}
    return {"answer": truth if isinstance(truth, str) else json.dumps(truth, default=str)}


def _begins_function(prompt: str, name: str) -> bool:
    """Whether a prompt is the beginning of a program, up to and with the head of that function."""
    for ending in ("", "\n    pass"):
        try:
            body = parse_source(prompt + ending).body
        except NO_PYTHON:
            continue
        return any(isinstance(one, ast.FunctionDef) and one.name == name for one in body)
    return False


def stepwise_question(row: Row) -> list[Example]:
    """A question with its reference solution and answer."""
    answer = str(present(row, "ground_truth_answer"))
    solution = {"solution": row.get("ground_truth_solution"), "answer": answer}
    return [Task(text(row, "question"), solution)]


def prompt_only(row: Row) -> list[Example]:
    """``prompt`` and whatever columns stand beside it."""
    rest: dict[str, Any] = remaining(row, ("prompt",))
    if code_tests.is_packed(row.get("tests")):
        raise RowFault("unsupported_tests", "tests", "packed or pickled; such tests are never opened, publish JSON")
    return [Task(conversation(row, "prompt"), rest)]


def asked(row: Row) -> list[Example]:
    """A prompt of an online run in memory, whatever stands beside it: text, or messages of any roles, with tools."""
    value = present(row, "prompt")
    if isinstance(value, str):
        return [Task(value)]
    if not isinstance(value, list) or not all(_is_turn(one) for one in value):
        raise RowFault("wrong_type", "prompt", f"expected text or messages, found {kind_of(value)}")
    return [Task([{"role": one["role"], "content": _shown(one)} for one in value])]


def _is_turn(message: Any) -> bool:
    return isinstance(message, Mapping) and isinstance(message.get("role"), str)


def _shown(message: Mapping[str, Any]) -> str:
    """Something to see: the text of a message, or what else it carries."""
    content = message.get("content")
    return content if isinstance(content, str) else json.dumps([content, message.get("tool_calls")], default=str)


PLAIN = Shape("prompts", ("prompt",), asked)
_ANSWERED = ("chosen", "rejected", "completion", "completions", "response", "responses", "answers")

SHAPES = (
    Shape("questions with answers", ("question", "answer"), question_and_answer),
    Shape("code with a check function", ("prompt", "entry_point", "test"), check_function),
    Shape("code with assertions (text)", ("text", "test_list"), assertions),
    Shape("code with assertions", ("prompt", "test_list"), assertions),
    Shape("code with inputs and outputs", ("question", "input_output"), inputs_and_outputs),
    Shape("code contests", ("description", "public_tests"), code_contests),
    Shape("code with public and private tests", ("question_content", "public_test_cases"), public_and_private_tests),
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
