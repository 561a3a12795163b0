"""Programs that once got a pass they had not earned, or kept the grader past its time; named after what they try."""

from __future__ import annotations

import time

import pytest

from reward_models.verifiable.grading import AssertCase, Case, CheckCase, Graded, Job, StdinCase, grade
from tests.reward_models.verifiable.grading.tiers import TIERS, find, quickest

CONFINED = [tier for tier in TIERS if tier != "none"] or TIERS
ECHO: list[Case] = [StdinCase("1\n", "1"), StdinCase("2\n", "2")]


def run(code: str, cases: list[Case], setup: str = "", tier: str = "") -> Graded:
    """One job's verdicts."""
    return grade([Job(code, cases, setup, 5.0)], find(tier) if tier else quickest(), cache=None)[0]


@pytest.mark.parametrize("tier", CONFINED)
@pytest.mark.parametrize(
    "source",
    [
        "assert all(a == b for a, b in zip(map(total, [(1, 2), (3, 4)]), [3, 7]))",
        "assert all(map(lambda pair: total(pair) == sum(pair), [(1, 2), (3, 4)]))",
        "assert all(one.value == 3 for one in map(total, [(1, 2)])) and all(map(lambda i: total[i] == 3, range(2)))",
    ],
)
def test_ends_the_iteration_of_a_test(tier: str, source: str) -> None:
    """StopIteration out of a call ends a map as if all had been compared; it arrives as RuntimeError."""
    assert run("def total(pair):\n    raise StopIteration\n", [AssertCase(source)], tier=tier).statuses == ("error",)


def test_generators_end_as_before() -> None:
    """StopIteration that comes of ``next`` is one: lists of generators, and ``next`` of an empty one."""
    code = "def pairs(n):\n    for i in range(n):\n        yield i, i\n"
    source = "assert list(pairs(2)) == [(0, 0), (1, 1)]\ntry:\n    next(pairs(0))\nexcept StopIteration:\n    pass\n"
    assert run(code, [AssertCase(source)]).cells == (True,)


@pytest.mark.parametrize(
    "stray",
    [
        "import os\nos.write(1, b'stray')",
        "import sys\nsys.__stdout__.write('stray')",
        "import atexit\natexit.register(print, 'stray')",
        "import atexit, os\natexit.register(os._exit, 1)",
    ],
)
@pytest.mark.parametrize("tier", CONFINED)
def test_prints_more_than_the_stream_shows(tier: str, stray: str) -> None:
    """What stands on descriptor 1 besides the right answer, or an end with status 1, fails each case, as when alone."""
    assert run(f"print(input())\n{stray}\n", ECHO, tier=tier).cells == (False, False)


def test_real_output_alone_still_passes() -> None:
    """Programs that write on the descriptor only, or at their end only, pass in processes of their own."""
    by_descriptor = "import os\nos.write(1, input().encode())\n"
    at_the_end = "import atexit\natexit.register(print, input())\n"
    assert run(by_descriptor, ECHO).cells == run(at_the_end, ECHO).cells == (True, True)


@pytest.mark.parametrize(("code", "cells"), [("False", (True, True)), ("True", (False, False)), ("256", (True, True))])
def test_exit_status_of_any_int(code: str, cells: tuple[bool, ...]) -> None:
    """False is exit status 0, True is 1, and of 256 the kernel keeps eight bits: no line that cannot be read."""
    graded = run(f"print(input())\nimport sys\nsys.exit({code})\n", ECHO)
    assert graded.cells == cells
    assert "channel" not in graded.execution.reason


def test_leaves_the_function_out() -> None:
    """A program without the function is wrong, and not the test that imports it; nor does the setup's own serve."""
    asserted: Case = AssertCase("from solution import double\nassert double(2) == 4")
    checked: Case = CheckCase("def check(candidate):\n    assert candidate(2) == 4", "double")
    setup = "def double(x):\n    return x + x\n"
    assert run("pass\n", [asserted, checked], setup).cells == (False, False)
    assert run(setup, [asserted, checked], setup).cells == (True, True)
    elsewhere: Case = AssertCase("import no_such_module_here\nassert double(2) == 4")
    assert run(setup, [elsewhere]).cells == (None,)


def test_an_argument_too_large_to_send_is_no_fault() -> None:
    """300,000 numbers don't fit a message between the two processes: no verdict, where a right program once failed."""
    cases: list[Case] = [AssertCase("assert total(list(range(300_000))) == 44_999_850_000")]
    assert run("total = sum\n", cases).cells == (None,)


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("code", ["while True:\n    pass\n", "import os\nprint(1)\nos._exit(1)\n"])
def test_many_cases_after_the_end_of_the_job(code: str, fresh: bool) -> None:
    """3,000 cases in a job of one second: those that are left at its end cost no process each (once 70 seconds)."""
    job = Job(code, [StdinCase(str(n), "2") for n in range(3000)], "", 2.0, fresh)
    start = time.monotonic()
    (graded,) = grade([job], quickest(), cache=None, job_seconds=1.0)
    assert time.monotonic() - start < 8.0
    assert graded.cells == (False,) * 3000


NOT_ADD = "def add(a, b):\n    return a - b\n"


@pytest.mark.parametrize("tier", CONFINED)
@pytest.mark.parametrize(
    ("code", "sources"),
    [
        # The program's own math, re and random.
        ("class math:\n    isclose = staticmethod(lambda *_: True)\n" + NOT_ADD, ["assert math.isclose(add(2, 3), 5)"]),
        ("class re:\n    match = staticmethod(lambda *_: True)\n" + NOT_ADD, ["assert re.match('5', str(add(2, 3)))"]),
        (
            "class math:\n    isclose = staticmethod(lambda *_: True)\nsum = len\n",
            ["assert math.isclose(sum([2, 3]), 5)"],
        ),
        # Two words that could be the task's: the one that judges stays what it is.
        ("def abs(x):\n    return 0\nsum = len\n", ["assert abs(sum([1, 2]) - 3) < 1e-6"]),
        ("def isclose(*_):\n    return True\nsum = len\n", ["assert isclose(sum([1, 2]), 3)"]),
        (
            "def isclose(*_):\n    return True\nsqrt = abs\n",
            ["assert isclose(sqrt(4), 2)", "assert isclose(sqrt(9), 3)"],
        ),
        # Names of parameters made every test look as if it used something else than the builtin.
        ("def filter(*_):\n    return []\n", ["assert [filter(k, [0]) for k in [1]] == (lambda v: [v])([5])"]),
        ("pass\n", ["def holds(f):\n    return f([1]) == 1\nassert holds(add)"]),
        ("pass\n", ["assert sum([1, 2]) == 3"]),
        ("def sum(xs):\n    return 0\n", ["def holds(n):\n    k = n\n    return sum([k, 0]) == 3\nassert holds(3)"]),
    ],
)
def test_defines_a_word_of_the_test(tier: str, code: str, sources: list[str]) -> None:
    """A wrong program that brings its own judge fails each assertion."""
    graded = run(code, [AssertCase(source) for source in sources], tier=tier)
    assert graded.cells == (False,) * len(sources)


@pytest.mark.parametrize("name", ["np", "pytest"])
def test_defines_a_package_that_is_not_there(name: str) -> None:
    """What is not installed is nobody's to define."""
    code = f"class {name}:\n    allclose = approx = staticmethod(lambda *_: -1)\n{NOT_ADD}"
    sources = f"assert {name}.allclose(add(2, 3), 5)", f"assert {name}.approx(5) == add(2, 3)"
    assert run(code, [AssertCase(source) for source in sources]).statuses == ("error", "error")


@pytest.mark.parametrize(
    ("code", "source"),
    [
        ("def add(a, b):\n    return a + b\n", "assert math.isclose(add(2, 3), 5)"),
        ("def filter(f, xs):\n    return [x for x in xs if x]\n", "assert filter(None, [0, 2]) == [2]"),
        ("def sum(xs):\n    return xs[-1] * (xs[-1] + 1) // 2\n", "assert abs(sum([1, 3]) - 6) < 1e-6"),
        ("def sqrt(x):\n    return x**0.5\n", "assert isclose(sqrt(4), 2)"),
        ("class string:\n    turn = staticmethod(lambda s: s[::-1])\n", "assert string.turn('ab') == 'ba'"),
        ("class Queue:\n    def __init__(self):\n        self.n = 1\n", "queue = Queue()\nassert queue.n == 1"),
        ("def bisect(xs, x):\n    return 1\n", "assert bisect([1, 3], 2) == 1"),
        ("def sorted(xs):\n    return [1, 2]\n", "assert sorted([2, 1]) == [1, 2]"),
    ],
)
def test_words_that_are_the_tasks_own(code: str, source: str) -> None:
    """Honest programs define the function that is asked for, also one that has a builtin's or a module's name."""
    assert run(code, [AssertCase(source)]).cells == (True,)


def test_does_not_define_which_of_two_builtins() -> None:
    """Nothing says whether ``max`` or ``min`` is asked for: no verdict, neither for a right program nor for none."""
    assert run("pass\n", [AssertCase("assert max([1, 2]) == min([2, 3])")]).cells == (None,)


@pytest.mark.parametrize("tier", CONFINED)
@pytest.mark.parametrize(
    ("code", "source", "cell"),
    [
        ("def make(n):\n    return object()\n", "assert callable(make(3))", False),
        ("def make(n):\n    return object()\n", "assert hasattr(make(3), '__iter__')", False),
        ("def make(n):\n    return object()\n", "assert not hasattr(make(3), 'n')", True),
        (
            "def make(n):\n    return object()\n",
            "import collections.abc as c\nassert isinstance(make(3), c.Iterable)",
            None,
        ),
        ("def make(n):\n    return object()\n", "assert isinstance(make(3), int)", False),
        ("def make(n):\n    return lambda x: x + n\n", "assert callable(make(3)) and make(3)(4) == 7", True),
        ("def make(n):\n    return lambda x: x + n\n", "assert isinstance(make(3)(4), int)", True),
    ],
)
def test_a_stand_in_has_the_abilities_of_what_it_stands_for(
    code: str, source: str, cell: bool | None, tier: str
) -> None:
    """An object without methods is neither callable nor iterable, whatever its stand-in looks like; a closure is."""
    assert run(code, [AssertCase(source)], tier=tier).cells == (cell,)
