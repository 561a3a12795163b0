"""Prompts with tests: what each published convention becomes, and which are refused."""

from __future__ import annotations

import base64
import json
import pickle
import zlib
from typing import Any

import pytest

from reward_models.data import load_prompts, validate
from reward_models.data.examples import Row

CHAT = [{"role": "user", "content": "Add two numbers."}]


def cases_of(row: Row) -> list[dict[str, Any]]:
    """The tests of a single row, read back from their JSON text."""
    return json.loads(load_prompts([row])[0]["tests"])


def refused(row: Row) -> tuple[str, str]:
    """Reason and field of a row that is refused."""
    bad = validate([row], kind="prompts").bad_rows
    assert len(bad) == 1
    return bad[0].reason, bad[0].field


def test_check_function() -> None:
    """HumanEval: the prompt is code that ends inside the function, so it is also the prefix of a completion."""
    prompt = 'from math import pi\n\ndef f(x):\n    """Double."""\n'
    row = {"task_id": "a", "prompt": prompt, "entry_point": "f", "canonical_solution": "    return 2 * x\n"}
    row["test"] = "def check(candidate):\n    assert candidate(2) == 4\n"
    loaded = load_prompts([row])[0]
    assert (loaded["prompt"], loaded["prefix"], loaded["entry_point"]) == (prompt, prompt, "f")
    assert loaded["solution"] == "    return 2 * x\n"
    assert cases_of(row) == [{"check": row["test"], "entry_point": "f"}]
    assert load_prompts([{**row, "prompt": "def f(x):"}])[0]["prefix"] == "def f(x):"
    assert "prefix" not in load_prompts([{**row, "prompt": "Write f, which doubles."}]).column_names
    assert "prefix" not in load_prompts([{**row, "prompt": "def g(x): ..."}]).column_names


def test_assertions() -> None:
    """MBPP: what must run before stands before each assert statement."""
    row = {"task_id": 2, "text": "Write f.", "code": "def f(): ...", "test_list": ["assert f() is None", "assert 1"]}
    assert cases_of(row) == [{"assert": "assert f() is None"}, {"assert": "assert 1"}]
    assert cases_of({**row, "test_setup_code": "x = 1"})[1] == {"assert": "x = 1\nassert 1"}
    sanitised = {"task_id": 2, "prompt": "Write f.", "code": "", "test_list": ["assert f()"]}
    sanitised["test_imports"] = ["import math", "import re"]
    assert cases_of(sanitised) == [{"assert": "import math\nimport re\nassert f()"}]


def test_inputs_and_outputs() -> None:
    """APPS and TACO: texts or their lines are read and printed; with ``fn_name``, arguments and results."""

    def cases(**value: Any) -> list[dict[str, Any]]:
        return cases_of({"problem_id": 1, "question": "Add.", "input_output": json.dumps(value)})

    assert cases(inputs=["1 2"], outputs=["3\n"]) == [{"input": "1 2", "output": "3\n"}]
    assert cases(inputs=[["1", "2"]], outputs=[["3"]]) == [{"input": "1\n2", "output": "3"}]
    wrapped = [{"function": "add", "args": [1, 2], "expected": 3}, {"function": "add", "args": [0, 0], "expected": 0}]
    assert cases(fn_name="add", inputs=[[1, 2], [0, 0]], outputs=[[3], [0]]) == wrapped
    assert cases(fn_name="add", inputs=[[1, 2], [0, 0]], outputs=[3, 0]) == wrapped
    assert cases(fn_name="up", inputs=[[2], [1]], outputs=[[1, 2], [1]]) == [
        {"function": "up", "args": [2], "expected": [1, 2]},
        {"function": "up", "args": [1], "expected": [1]},
    ]
    lines = cases(fn_name="join", inputs=['["a"]\n"b"'], outputs=['"ab"'])
    assert lines == [{"function": "join", "args": [["a"], "b"], "expected": "ab"}]


def test_code_contests() -> None:
    """Public, private and generated tests in this order."""
    row = {"name": "a", "description": "Add.", "public_tests": {"input": ["1"], "output": ["2"]}}
    row["private_tests"] = {"input": ["3"], "output": ["4"]}
    row["generated_tests"] = {"input": [], "output": []}
    assert cases_of(row) == [{"input": "1", "output": "2"}, {"input": "3", "output": "4"}]


def test_pytest_functions() -> None:
    """KodCode: each function with what stands beside it, the import of the program taken out, and its call."""
    source = (
        "import math\nfrom solution import f\n\ndef test_a():\n    assert f(1) == 1\n\ndef test_b():\n    assert f(2)\n"
    )
    assert cases_of({"question_id": "a", "question": "Add.", "solution": "def f(x): ...", "test": source}) == [
        {"assert": "import math\n\ndef test_a():\n    assert f(1) == 1\n\ntest_a()"},
        {"assert": "import math\n\ndef test_b():\n    assert f(2)\n\ntest_b()"},
    ]


@pytest.mark.parametrize(
    ("truth", "tests"),
    [
        ({"inputs": ["1"], "outputs": ["2"]}, [{"input": "1", "output": "2"}]),
        (["assert f(1) == 1"], [{"assert": "assert f(1) == 1"}]),
        ([{"input": "1", "output": "2"}], [{"input": "1", "output": "2"}]),
        (
            [{"input": "1\n[2]", "output": "[3]", "testtype": "functional", "metadata": {"func_name": "f"}}],
            [{"function": "f", "args": [1, [2]], "expected": [3]}],
        ),
        ({"functional": "assert f(1)"}, [{"assert": "assert f(1)"}]),
    ],
)
def test_ground_truth_that_is_tests(truth: Any, tests: list[dict[str, Any]]) -> None:
    """verl and open-instruct keep tests where other rows keep an answer: as JSON text, or as they are."""
    for one in (truth, json.dumps(truth)):
        verl = {"data_source": "x", "prompt": CHAT, "reward_model": {"style": "rule", "ground_truth": one}}
        loaded = load_prompts([verl])[0]
        assert (loaded["prompt"], json.loads(loaded["tests"])) == (CHAT, tests)
        assert "answer" not in loaded
        assert cases_of({"messages": CHAT, "ground_truth": one, "dataset": "code"}) == tests
    assert cases_of({"messages": CHAT, "ground_truth": [json.dumps(truth)], "dataset": "code"}) == tests


@pytest.mark.parametrize("answer", ["4", "[1, 2]", '{"a": 1}', '["a", "b"]', "assert"])
def test_ground_truth_that_is_an_answer(answer: str) -> None:
    """JSON that holds no tests is an answer like any other."""
    row = load_prompts([{"messages": CHAT, "ground_truth": answer, "dataset": "maths"}])[0]
    assert row["answer"] == answer
    assert "tests" not in row


def test_public_and_private_tests() -> None:
    """LiveCodeBench: JSON is read; private tests as they are published, pickled and compressed, are not opened."""
    public = json.dumps([{"input": "1\n", "output": "2\n", "testtype": "stdin"}])
    called = json.dumps([{"input": "[1]\n2", "output": "true", "testtype": "functional"}])
    row = {"question_content": "Add.", "public_test_cases": public, "metadata": json.dumps({"func_name": "has"})}
    assert cases_of(row) == [{"input": "1\n", "output": "2\n"}]
    assert cases_of({**row, "private_test_cases": called}) == [
        {"input": "1\n", "output": "2\n"},
        {"function": "has", "args": [[1], 2], "expected": True},
    ]
    pickled = base64.b64encode(zlib.compress(pickle.dumps(public))).decode()
    assert refused({**row, "private_test_cases": pickled}) == ("unsupported_tests", "private_test_cases")


@pytest.mark.parametrize(
    ("row", "reason", "field"),
    [
        ({"question": "a", "input_output": "[1]"}, "wrong_type", "input_output"),
        ({"question": "a", "input_output": '{"inputs": ["1"], "outputs": []}'}, "wrong_type", "input_output"),
        ({"question": "a", "input_output": '{"inputs": [1], "outputs": ["1"]}'}, "wrong_type", "input_output"),
        (
            {"question": "a", "input_output": '{"fn_name": "f", "inputs": [1], "outputs": [1]}'},
            "wrong_type",
            "input_output",
        ),
        ({"question": "a", "test": "def test_a(:"}, "wrong_type", "test"),
        ({"question": "a", "test": "import pytest\ndef test_a(): ..."}, "unsupported_tests", "test"),
        ({"question": "a", "test": "def test_a(fixture): ..."}, "unsupported_tests", "test"),
        ({"question": "a", "test": "assert f()"}, "unsupported_tests", "test"),
        ({"prompt": "a", "test_list": [1]}, "wrong_type", "test_list"),
    ],
)
def test_refused_tests(row: Row, reason: str, field: str) -> None:
    """Tests that cannot be taken as they are meant stop the row, with the field that holds them."""
    assert refused(row) == (reason, field)
