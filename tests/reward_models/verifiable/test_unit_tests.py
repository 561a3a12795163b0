"""Unit tests as a reward: scores of rows of verdicts, programs in completions, columns, and what is refused."""

from __future__ import annotations

import json
import logging
import re

import pytest

from reward_models.errors import DataError, ModelError
from reward_models.failures import Ungradable
from reward_models.verifiable import UnitTests, build_verifier
from reward_models.verifiable.pass_scores import SCORES
from reward_models.verifiable.sandbox import Sandbox, SandboxUnavailable

RIGHT = "def add(a, b):\n    return a + b\n\nprint(add(*map(int, input().split())))\n"
WRONG = RIGHT.replace("a + b", "a - b")
TESTS = [
    {"input": "1 2\n", "output": "3\n"},
    {"input": "5 0\n", "output": "5\n"},
]
CALLS = [
    {"function": "add", "args": [1, 2], "expected": 3},
    {"function": "add", "kwargs": {"a": 2, "b": 0}, "expected": 2},
    {"assert": "assert add(0, 0) == 0"},
    {"check": "def check(candidate):\n    assert candidate(1, 1) == 2", "entry_point": "add"},
]
ADD, SUBTRACT = "def add(a, b):\n    return a + b\n", "def add(a, b):\n    return a - b\n"


@pytest.fixture(scope="module")
def unit_tests() -> UnitTests:
    """With the sandbox of this machine."""
    try:
        return UnitTests()
    except ModelError as error:
        pytest.skip(f"no sandbox works here: {error}")


@pytest.mark.parametrize(
    ("row", "strict", "fraction", "weighted"),
    [
        ((True, True, True, True), 1, 1, 1.1),
        ((True, True, True, False), 0, 0.75, 0.075),
        ((True, True, False, False), 0, 0.5, 0.05),
        ((None, None, None, None), None, None, None),
        ((True, None, True, True), None, None, None),
        ((False, None, True, True), 0, None, None),
        ((), None, None, None),
    ],
)
def test_scores(row: tuple, strict: float | None, fraction: float | None, weighted: float | None) -> None:
    """The first four rows are worked examples; one failure decides ``strict`` whatever the tests without a verdict."""
    scores = [SCORES[name](row) for name in ("strict", "fraction", "strict_plus_tenth")]
    assert scores == [want if want is None else pytest.approx(want) for want in (strict, fraction, weighted)]


def test_all_kinds(unit_tests: UnitTests) -> None:
    """a - b is right for b = 0 only: call 2 and the assert pass, call 1 and the check fail, 2 of 4."""
    assert unit_tests(["?"] * 2, [ADD, SUBTRACT], tests=[CALLS] * 2) == [1.0, 0.0]
    assert unit_tests.results(["?"] * 2, [ADD, SUBTRACT], tests=[CALLS, json.dumps(CALLS)]) == [
        [True] * 4,
        [False, True, True, False],
    ]
    fraction = UnitTests(score="fraction")
    assert fraction(["?"] * 2, [ADD, SUBTRACT], tests=[CALLS] * 2) == [1.0, 0.5]
    weighted = UnitTests(score="strict_plus_tenth")
    assert weighted(["?"] * 2, [ADD, SUBTRACT], tests=[CALLS] * 2) == pytest.approx([1.1, 0.05])


def test_programs_that_read_and_print(unit_tests: UnitTests) -> None:
    """1 - 2 is not 3, 5 - 0 is 5. The two kinds of tests may stand in one list."""
    mixed = [*TESTS, {"function": "add", "args": [2, 2], "expected": 4}]
    assert unit_tests.results(["?"] * 2, [RIGHT, WRONG], tests=[TESTS] * 2) == [[True, True], [False, True]]
    only = "def add(a, b):\n    return a + b\nif __name__ == '__main__':\n    print(add(*map(int, input().split())))\n"
    assert unit_tests(["?"], [only], tests=[mixed]) == [1.0]


def test_the_program_in_a_completion(unit_tests: UnitTests) -> None:
    """The last Python block counts, in text and in chat; a draft that is right does not help."""
    text = f"Draft:\n```python\n{SUBTRACT}```\nFinal:\n```python\n{ADD}```\nIt prints\n```\n3\n```\n"
    turned = f"```python\n{ADD}```\nno,\n```python\n{SUBTRACT}```"
    chat = [{"role": "assistant", "content": text}]
    scores = unit_tests(["?"] * 4, [text, turned, chat, "I cannot."], tests=[CALLS] * 4)
    assert scores == [1.0, 0.0, 1.0, 0.0]


def test_prefix(unit_tests: UnitTests) -> None:
    """A body goes on from the prefix; a whole function after it replaces its beginning; helpers stay in reach.

    ``double`` stands in the prefix only and is used by the program and by the test.
    """
    prefix = 'def double(x):\n    return 2 * x\n\ndef four(x):\n    """Four times x."""\n'
    tests = [{"assert": "assert four(3) == double(double(3))"}]
    body, whole = "    return double(double(x))\n", "def four(x):\n    return double(double(x))"
    completions = [body, f"```python\n{whole}\n```", whole, "    return double(x)\n", ""]
    scores = unit_tests(["?"] * 5, completions, tests=[tests] * 5, prefix=[prefix] * 5)
    assert scores == [1.0, 1.0, 1.0, 0.0, 0.0]
    assert unit_tests(["?"], [f"def double(x): return 2 * x\n{whole}"], tests=[tests], prefix=[None]) == [1.0]


def test_rows_without_tests_have_no_score(unit_tests: UnitTests, caplog: pytest.LogCaptureFixture) -> None:
    """None, counted in one line of the log; the rows beside them are scored."""
    with caplog.at_level(logging.WARNING):
        assert unit_tests(["?"] * 4, [ADD] * 4, tests=[CALLS, None, "[", CALLS]) == [1.0, None, None, 1.0]
    assert "2 of 4 programs have no score: no tests (1); tests are no JSON" in caplog.text
    assert unit_tests.results(["?"] * 2, [ADD] * 2, tests=[None, []]) == [[], []]
    assert unit_tests.judge([ADD], [""])[0].reason == "no tests"


def test_what_a_judgement_says(unit_tests: UnitTests) -> None:
    """Why a program failed, for a person to read, and where it ran."""
    judged = unit_tests.judge(["def add(a, b):\n    return 1 / 0\n", "x ="], [CALLS, TESTS[:1]], None)
    assert [one.score for one in judged] == [0.0, 0.0]
    assert "ZeroDivisionError" in judged[0].reason
    assert "SyntaxError" in judged[1].reason
    assert judged[0].execution is not None
    assert (judged[0].execution.passed, judged[0].execution.total) == (0, 4)
    assert judged[0].execution.tier == unit_tests.sandbox.tier


def test_a_deadline_of_the_test(unit_tests: UnitTests) -> None:
    """An endless program costs the seconds of its test and fails."""
    endless = [{"output": "", "timeout": 0.3}]
    assert unit_tests(["?"], ["while True: ..."], tests=[endless]) == [0.0]


def test_refused_tests(unit_tests: UnitTests) -> None:
    """An unknown key names row, test and key before a run; in one, that row alone is ungradable, with the same words.

    So is a row whose arguments are no plain data; one without any tests is plainly None.
    """
    tests = [CALLS, [{"asert": "assert 1"}], [{"function": "f", "args": [object()], "expected": 1}], []]
    words = "tests, row 2, test 1: unknown key 'asert'. Did you mean 'assert'"
    with pytest.raises(DataError, match=re.escape(words)):
        unit_tests.check_rows(tests)
    found = unit_tests.with_failures(["?"] * 4, [ADD] * 4, tests=tests)
    assert (found[0], found[3]) == (1.0, None)
    assert isinstance(found[1], Ungradable)
    assert words in str(found[1])
    assert isinstance(found[2], Ungradable)
    assert "case 0, args: builtins.object is not plain data" in str(found[2])
    assert unit_tests(["?"] * 4, [ADD] * 4, tests=tests) == [1.0, None, None, None]


def test_what_it_refuses() -> None:
    """Settings without sense are refused when built."""
    for settings, message in (
        ({"score": "half"}, "score 'half' is unknown; choose one of strict, fraction, strict_plus_tenth"),
        ({"timeout": 0}, "timeout must be positive"),
        ({"suite_timeout": -1}, "suite_timeout must be positive"),
        ({"memory_mb": 0}, "memory_mb must be positive"),
        ({"tolerance": -0.1}, "tolerance must not be negative"),
        ({"mode": "open"}, "mode 'open' is unknown; choose one of separate, same_process"),
        ({"workers": 0}, "workers must be at least 1"),
        ({"time": 3}, "unexpected keyword argument 'time'"),
    ):
        with pytest.raises(ModelError, match=message):
            build_verifier("unit_tests", settings)


def test_without_a_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused when built, with the reason."""

    def unavailable(*given: object, **settings: object) -> Sandbox:
        raise SandboxUnavailable("nothing contains programs on this machine")

    monkeypatch.setattr(Sandbox, "best", unavailable)
    with pytest.raises(ModelError, match="unit_tests: nothing contains programs on this machine"):
        UnitTests()
