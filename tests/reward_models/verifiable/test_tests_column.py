"""The tests column: what each dict becomes, what is refused with row, test and key, what leaves a row unscored."""

from __future__ import annotations

import json
from typing import Any

import pytest
from datasets import Dataset

from reward_models.errors import DataError
from reward_models.verifiable.grading.cases import AssertCase, CallCase, CheckCase, StdinCase
from reward_models.verifiable.tests_column import RowTests, read_tests

KINDS: list[tuple[dict[str, Any], object]] = [
    ({"input": "1\n", "output": "2\n"}, StdinCase("1\n", "2\n", None, 0.5)),
    ({"output": "2", "timeout": 3}, StdinCase("", "2", 3.0, 0.5)),
    ({"function": "f", "args": [1, "a"], "expected": [2]}, CallCase("f", (1, "a"), {}, [2], None, 0.5)),
    ({"function": "f", "kwargs": {"x": 1}, "expected": None}, CallCase("f", (), {"x": 1}, None, None, 0.5)),
    ({"assert": "assert f(1)", "timeout": 0.5}, AssertCase("assert f(1)", 0.5)),
    ({"check": "def check(c): ...", "entry_point": "f"}, CheckCase("def check(c): ...", "f", None)),
]


@pytest.mark.parametrize(("test", "case"), KINDS)
def test_kinds(test: dict[str, Any], case: object) -> None:
    """Each alone, as JSON text, and with the null keys that a table fills in; only data tests have a tolerance."""
    filled = {"assert": None, "check": None, "function": None, "output": None, "expected": None, **test}
    for column in ([test], json.dumps([test]), [filled]):
        assert read_tests(column, "row 1", tolerance=0.5) == RowTests((case,))


def test_kinds_mixed() -> None:
    """One list may hold them all, also after a journey through a table of JSON text."""
    column = Dataset.from_dict({"tests": [json.dumps([test for test, _ in KINDS])]})["tests"][0]
    assert read_tests(column, "row 1", 0.5).cases == tuple(case for _, case in KINDS)


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (None, "no tests"),
        ("", "no tests"),
        ([], "no tests"),
        ("[]", "no tests"),
        ("[{", "tests are no JSON: "),
        ("[" * 100_000, "tests are no JSON: "),
        ('{"assert": "assert 1"}', "tests are no list but dict"),
        (7, "tests are no list but int"),
    ],
)
def test_rows_without_tests(column: object, reason: str) -> None:
    """Such a row is not scored, and says why."""
    read = read_tests(column, "row 1")
    assert read.cases == ()
    assert read.reason.startswith(reason)


@pytest.mark.parametrize(
    ("test", "message"),
    [
        (
            {"inputs": "1", "output": "2"},
            "unknown key 'inputs'. Did you mean 'input'? Its keys: input, output, timeout",
        ),
        ({"inputs": "1"}, "unknown key 'inputs'. Did you mean 'input'? Known keys: args, assert, check, entry_point"),
        ({"assert": "assert 1", "entry_point": "f"}, "unknown key 'entry_point'. Its keys: assert, timeout"),
        ({}, "no kind of test; it needs one of the keys check, assert, function, output, input"),
        ({"timeout": 1}, "no kind of test"),
        ("assert f()", "expected an object with keys, found str; write {'assert': "),
        ({"input": "1"}, "key 'output' is missing"),
        ({"input": 1, "output": "2"}, "key 'input': expected text, found int"),
        ({"function": "f", "args": [1]}, "key 'expected' is missing"),
        ({"function": "f", "args": "1", "expected": 1}, "key 'args': expected a list, found str"),
        ({"function": "f", "kwargs": [1], "expected": 1}, "key 'kwargs': expected an object, found list"),
        ({"assert": "assert f("}, "key 'assert': no Python: '(' was never closed"),
        ({"check": "def check(c): ..."}, "key 'entry_point' is missing"),
        ({"output": "1", "timeout": 0}, "key 'timeout': expected seconds, found 0"),
        ({"output": "1", "timeout": True}, "key 'timeout': expected seconds, found True"),
    ],
)
def test_refused(test: object, message: str) -> None:
    """The message names row, test and key."""
    with pytest.raises(DataError) as caught:
        read_tests([{"output": ""}, test], "tests, row 3")
    assert str(caught.value).startswith(f"tests, row 3, test 2: {message}")
