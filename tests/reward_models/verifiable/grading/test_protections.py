"""The mutation check: take one protection away, and a wrong program passes that is refused with it.

Each test shows both halves on the same job, so that no protection can be lost without a test that fails.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from reward_models.verifiable.grading import (
    AssertCase,
    CallCase,
    Case,
    CheckCase,
    Graded,
    Job,
    StdinCase,
    asked_names,
    blackbox_calls,
    blackbox_output,
    conversation,
    grade,
    output_comparison,
    two_process,
)
from reward_models.verifiable.grading.program import program
from tests.reward_models.verifiable.grading.hostile import BY_ORDER, FORGE, FRAMES, HOSTILE, ORDERED, SECRET, WRONG
from tests.reward_models.verifiable.grading.tiers import quickest

ADD: list[Case] = [CallCase("add", pair, expected=sum(pair)) for pair in ((2, 3), (10, 20))]
ADD_ASSERTS: list[Case] = [AssertCase("assert add(2, 3) == 5"), AssertCase("assert add(10, 20) == 30")]


def run(code: str, cases: list[Case], setup: str = "", mode: Any = "separate", seconds: float = 10.0) -> Graded:
    """One job's verdicts."""
    return grade([Job(code, cases, setup, seconds)], quickest(), mode=mode, cache=None)[0]


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replace a function of the grader by one that protects less."""

    def replace(where: Any, name: str, worse: Any) -> None:
        monkeypatch.setattr(where, name, worse)

    return replace


@pytest.fixture
def without_inside(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replace passages of a program that runs inside, given as pairs."""

    def replace(name: str, *passages: tuple[str, str]) -> None:
        text = program(name)
        for passage, worse in passages:
            assert passage in text
            text = text.replace(passage, worse)
        monkeypatch.setattr(conversation, "program", lambda asked: text if asked == name else program(asked))

    return replace


def test_answers_only_to_questions(without: Callable[..., None]) -> None:
    """Answers written beforehand by a program whose function is wrong: tokens out of turn fail it."""
    code = FORGE + "forge(found('request')['calls'])\n" + WRONG
    assert run(code, ADD).cells == (False, False)
    # Without the check of the token the line of the load is skipped, and the forged ones are taken.
    without(blackbox_calls, "answer_of", lambda line, token: json.loads(line)[1:])
    without(blackbox_calls, "receive_loading", lambda *_: blackbox_calls.OK)
    assert run(code, ADD).cells == (True, True)


def test_one_answer_to_a_question(without: Callable[..., None]) -> None:
    """A program that answers a call itself, rightly, before its function answers wrongly, is refused as a whole."""
    code = FORGE + "def add(a, b):\n    forge([(found('token'), '', (a, b), {})])\n    return -1\n"
    assert run(code, ADD).cells == (False, False)
    seen: set[str] = set()

    def first_of_several(self: Any, deadline: float) -> str:
        while True:
            line = receive(self, deadline)
            token = str(json.loads(line)[0])
            if token not in seen:
                seen.add(token)
                return line

    receive = conversation.Conversation.receive
    without(conversation.Conversation, "receive", first_of_several)
    assert run(code, ADD).cells == (True, True)


def test_no_answer_before_the_question(without: Callable[..., None]) -> None:
    """Two processes: a call that answers for itself and for the next one is refused once its first line is read."""
    code = (
        "import os\ndef first():\n    end = bytes([10])\n"
        "    os.write(3, b'x [\"value\",0]' + end + b'x [\"value\",5]' + end)\n"
        "def add(a, b):\n    return -1\n"
    )
    cases: list[Case] = [AssertCase("first()\nassert add(2, 3) == 5")]
    assert run(code, cases).statuses == ("error",)

    def credulous(program: Any, question: str, deadline: float) -> str:
        program.send(f"x {question}")
        return program.receive(deadline).partition(" ")[2]

    without(two_process, "exchange", credulous)
    assert run(code, cases).statuses == ("ok",)


def test_types_are_strict(without: Callable[..., None]) -> None:
    """3.0 for 3 and True for 1 pass once Python's equality decides."""
    code = "def add(a, b):\n    return float(a + b)\n"
    truth = "def add(a, b):\n    return True\n"
    one: list[Case] = [CallCase("add", (0, 1), expected=1)]
    assert run(code, ADD).cells == (False, False)
    assert run(truth, one).cells == (False,)
    without(blackbox_calls, "same_value", lambda expected, answer, tolerance: expected == answer)
    assert run(code, ADD).cells == (True, True)
    assert run(truth, one).cells == (True,)


def test_numbers_of_lines_agree(without: Callable[..., None]) -> None:
    """A program that prints the first line only passes once lines are compared pairwise as far as they go."""
    code = "print(1)\n"
    cases: list[Case] = [StdinCase("", "1\n2\n3\n")]
    assert run(code, cases).cells == (False,)

    def pairwise(expected: str, printed: str, tolerance: float | None) -> bool:
        lines = [output_comparison._lines(text) for text in (expected, printed)]
        return all(one == other for one, other in zip(*lines, strict=False))

    without(blackbox_output, "same_output", pairwise)
    assert run(code, cases).cells == (True,)


def test_the_exit_status_counts(without: Callable[..., None]) -> None:
    """A program that prints what is right and then fails passes once nobody looks how it ended."""
    code = "print(3)\nraise ValueError\n"
    cases: list[Case] = [StdinCase("", "3\n")]
    assert run(code, cases).cells == (False,)

    def whatever(self: Any, deadline: float) -> bytes:
        return self.process.wait().stdout

    without(conversation.Conversation, "end", whatever)
    assert run(code, cases).cells == (True,)


def test_the_order_is_the_graders(without: Callable[..., None]) -> None:
    """A program that counts its calls passes once it is asked in the order of the row."""
    calls: list[Case] = [CallCase("add", pair, expected=sum(pair)) for pair in ORDERED]
    asserts: list[Case] = [AssertCase(f"assert add({a}, {b}) == {a + b}") for a, b in ORDERED]
    assert not all(run(BY_ORDER, calls).cells)
    assert not all(run(BY_ORDER, asserts).cells)
    for grader in (blackbox_calls, two_process):
        without(grader, "shuffled", lambda indices, code: list(indices))
    assert all(run(BY_ORDER, calls).cells)
    assert all(run(BY_ORDER, asserts).cells)


def test_objects_are_not_asked_for_their_equality(without_inside: Callable[..., None]) -> None:
    """An object equal to everything passes once a stand-in carries ``==`` to the program's process."""
    code = "class Yes:\n    def __eq__(self, other):\n        return True\ndef add(a, b):\n    return Yes()\n"
    assert run(code, ADD_ASSERTS).cells == (None, None)
    worse = "RemoteObject.__eq__ = lambda self, other: ask('attribute', self, '__eq__')[0](other)\ndef main"
    without_inside("tests", ("def main", worse))
    assert run(code, ADD_ASSERTS).cells == (True, True)


def test_a_test_that_swallows_everything_is_ungradable(without_inside: Callable[..., None]) -> None:
    """``except BaseException`` hides that a comparison was impossible; the grader remembers."""
    code = "class Yes:\n    def __eq__(self, other):\n        return True\ndef add(a, b):\n    return Yes()\n"
    cases: list[Case] = [AssertCase("try:\n    assert add(2, 3) == 5\nexcept BaseException:\n    pass")]
    assert run(code, cases).cells == (None,)
    without_inside("tests", ("STUCK.append(reason)", "pass"))
    assert run(code, cases).cells == (True,)


def test_values_and_not_their_methods_are_sent(without_inside: Callable[..., None]) -> None:
    """An int of -1 that says it is the sum passes once the codec asks it instead of looking."""
    code = (
        "class Liar(int):\n    def __int__(self):\n        return self.other\n"
        "def add(a, b):\n    liar = Liar(-1)\n    liar.other = a + b\n    return liar\n"
    )
    assert run(code, ADD).cells == (False, False)
    without_inside("calls", ("value = int.__int__(value)", "value = value.__int__()"))
    assert run(code, ADD).cells == (True, True)


def test_builtins_are_the_tests_own(without: Callable[..., None]) -> None:
    """A program's ``abs`` that is always 0 passes an assertion with a tolerance once its names go before builtins."""
    code = "def add(a, b):\n    return 0\ndef abs(x):\n    return 0\n"
    cases: list[Case] = [AssertCase("assert abs(add(2, 3) - 5) < 1e-6")]
    assert run(code, cases).cells == (False,)
    without(asked_names, "BUILTINS", frozenset())
    assert run(code, cases).cells == (True,)


def test_helpers_are_the_tests_own(without: Callable[..., None], without_inside: Callable[..., None]) -> None:
    """A program's ``poly`` that is always 0 passes a check of a root once its names go before the setup's."""
    setup = "def poly(x):\n    return x - 3\ndef root():\n    pass\n"
    code = "def poly(x):\n    return 0\ndef root():\n    return 99\n"
    cases: list[Case] = [CheckCase("def check(candidate):\n    assert abs(poly(candidate())) < 1e-4\n", "root")]
    assert run(code, cases, setup).cells == (False,)
    without(asked_names, "_bound", lambda tree: {"check"})
    without_inside("tests", ("if name == entry_point or name not in known", ""))
    assert run(code, cases, setup).cells == (True,)


def test_modules_are_the_tests_own(without_inside: Callable[..., None]) -> None:
    """A program that imports ``cmath`` as ``math`` passes ``not hasattr(math, "floor")`` once its word is taken."""
    code = "import cmath as math\n"
    cases: list[Case] = [AssertCase("assert not hasattr(math, 'floor')")]
    assert run(code, cases).cells == (False,)
    checks, imports = "what == name and name in sys.stdlib_module_names", "__import__(name)"
    without_inside("tests", (checks, "True"), (imports, "__import__(what)"))
    assert run(code, cases).cells == (True,)


def test_no_names_that_nobody_asked_for(without_inside: Callable[..., None]) -> None:
    """A program that answers a question for ``add`` with an ``abs`` of its own, too."""
    code = (
        FRAMES + "Server = found('Server')\nnames = Server.on_names\n"
        "Server.on_names = lambda self, asked: names(self, [*asked, 'abs'])\n"
        "def abs(x):\n    return 0\ndef add(a, b):\n    return -1\n"
    )
    cases: list[Case] = [AssertCase("assert abs(add(2, 3) - 5) < 1")]
    assert run(code, cases).cells == (False,)
    without_inside("tests", ("if name not in names", "if False"))
    assert run(code, cases).cells == (True,)


def test_in_one_process_programs_do_pass() -> None:
    """The hostile programs bite: without the separation, wrong ones score, by reading, by comparing, by forging."""
    sums: list[Case] = [AssertCase(f"assert add({SECRET // 2}, {SECRET // 2}) == {SECRET}")]
    jobs = [Job(one.code, sums, timeout=1.0) for one in HOSTILE]
    results = grade(jobs, quickest(), mode="same_process", cache=None)
    passed = {one.name for one, result in zip(HOSTILE, results, strict=True) if result.cells == (True,)}
    assert {
        "always equal",
        "always equal int",
        "pretends to be an int",
        "walks frames for the expected value",
        "searches constants of frames",
        "writes its own verdict",
        "numpy scalar",
    } <= passed
