"""What each grader says of programs that are honest, right or wrong."""

from __future__ import annotations

import pytest

from reward_models.verifiable.grading import AssertCase, CallCase, Case, CheckCase, Graded, Job, StdinCase, grade
from tests.reward_models.verifiable.grading.tiers import quickest

SUM = "a = int(input())\nb = int(input())\nprint(a + b)\n"


def graded(code: str, *cases: Case, setup: str = "", timeout: float = 10.0, fresh: bool = False, **settings) -> Graded:
    """One job's verdicts."""
    return grade([Job(code, cases, setup, timeout, fresh)], quickest(), cache=None, **settings)[0]


def test_calls() -> None:
    """Values, wrong values, exceptions and missing functions; keyword arguments; methods by dotted and plain name."""
    code = (
        "def div(a, b=2):\n    return a / b\n"
        "class Solution:\n    def __init__(self):\n        self.seen = 0\n"
        "    def next(self):\n        self.seen += 1\n        return self.seen\n"
    )
    result = graded(
        code,
        CallCase("div", (3,), expected=1.5),
        CallCase("div", (3,), {"b": 4}, expected=0.75),
        CallCase("div", (3, 0), expected=0.0),
        CallCase("missing", (), expected=None),
        CallCase("next", (), expected=1),
        CallCase("Solution.next", (), expected=1),
        CallCase("div", (1,), expected=1),
    )
    assert result.cells == (True, True, False, False, True, True, False)
    assert result.statuses == ("ok", "ok", "error", "error", "ok", "ok", "wrong")
    execution = result.execution
    assert (execution.status, execution.passed, execution.total, execution.mode) == ("error", 4, 7, "blackbox")
    assert execution.reason == "ZeroDivisionError: division by zero"
    assert execution.wall_ms > 0
    assert execution.cpu_ms > 0
    assert execution.peak_kb > 1000


def test_a_call_that_ends_the_process_costs_its_own_cell() -> None:
    """Exit, endless loop and exhausted memory in one call each: the other calls are answered by fresh processes."""
    code = (
        "def f(n):\n    if n == 3:\n        import os\n        os._exit(0)\n"
        "    if n == 5:\n        while True:\n            pass\n"
        "    if n == 7:\n        return len(bytearray(1 << 40))\n"
        "    return n\n"
    )
    result = graded(code, *(CallCase("f", (n,), expected=n) for n in range(10)), timeout=1.0)
    assert result.statuses == ("ok", "ok", "ok", "crashed", "ok", "timeout", "ok", "memory", "ok", "ok")
    assert result.cells.count(True) == 7


def test_a_program_that_does_not_load_fails_everything() -> None:
    """A syntax error, an exception, an endless loop outside of functions: every cell is False, once the time is up."""
    for code, status in (("def f(:\n", "error"), ("1 / 0\n", "error"), ("while True:\n    pass\n", "timeout")):
        for case in (CallCase("f", (), expected=1), AssertCase("assert f() == 1")):
            result = graded(code, case, case, timeout=0.5)
            assert (result.cells, result.execution.status) == ((False, False), status)


def test_the_whole_job_has_an_end() -> None:
    """Fifty endless loops of 0.5 s each take the 1.2 s that the job may; what was not reached is False."""
    code = "def f():\n    while True:\n        pass\n"
    result = graded(code, *(CallCase("f", (), expected=n) for n in range(50)), timeout=0.5, job_seconds=1.2)
    assert result.statuses == ("timeout",) * 50
    assert result.execution.wall_ms < 5000


def test_fresh_processes_keep_nothing() -> None:
    """A counter reaches 1 in each process of its own, and 2 in a shared one."""
    code = "n = 0\ndef count():\n    global n\n    n += 1\n    return n\n"
    calls = [CallCase("count", (), expected=1)] * 3
    asserts = [AssertCase("assert count() == 1")] * 3
    assert graded(code, *calls, *asserts, fresh=True).cells == (True,) * 6
    assert graded(code, *calls).cells.count(True) == 1
    assert graded(code, *asserts).cells.count(True) == 1


def test_printed_output() -> None:
    """Right, wrong, too short and too long output; leaving with and without an error."""
    result = graded(SUM, StdinCase("1\n2\n", "3\n"), StdinCase("1\n2\n", "4\n"), StdinCase("1\n", "1\n"))
    assert result.statuses == ("ok", "wrong", "error")
    assert result.execution.mode == "blackbox"
    assert result.execution.stdout == "3\n"
    assert graded("print(1)\nprint(2)\n", StdinCase("", "1\n2\n3\n"), StdinCase("", "1\n")).cells == (False, False)
    assert graded("print(1)\nexit()\n", StdinCase("", "1")).cells == (True,)
    assert graded("print(1)\nimport sys\nsys.exit(1)\n", StdinCase("", "1"), StdinCase("", "1")).cells == (False, False)
    assert graded("print(1)\n1 / 0\n", StdinCase("", "1"), StdinCase("", "1")).statuses == ("error", "error")
    assert graded("print(0.1 + 0.2)\n", StdinCase("", "0.3", tolerance=1e-9), StdinCase("", "0.3")).cells == (
        True,
        False,
    )


@pytest.mark.parametrize(
    "code",
    [
        SUM,
        "import sys\nprint(sum(map(int, sys.stdin.read().split())))\n",
        "import sys\nprint(sum(int(line) for line in sys.stdin))\n",
        "import sys\nsys.stdout.buffer.write(b'%d\\n' % sum(map(int, sys.stdin.buffer.read().split())))\n",
        "print(sum(map(int, open(0).read().split())))\n",
        "import os\nos.write(1, b'%d' % sum(map(int, os.read(0, 99).split())))\n",
        "def main():\n    print(int(input()) + int(input()))\nif __name__ == '__main__':\n    main()\n",
        "import sys, threading\nsys.setrecursionlimit(10_000)\n"
        "threading.Thread(target=lambda: print(int(input()) + int(input()))).start()\n",
        "import os\nprint(int(input()) + int(input()), flush=True)\nos._exit(0)\n",
        "import atexit\natexit.register(lambda: print(a + b))\na, b = int(input()), int(input())\n",
        "import builtins\nassert not hasattr(builtins, 'been')\nbuiltins.been = 1\n" + SUM,
    ],
)
def test_every_way_to_read_and_print(code: str) -> None:
    """Whatever a program does to its streams and modules, each case runs as if alone."""
    cases = [StdinCase(f"{a}\n{b}\n", f"{a + b}\n") for a, b in ((1, 2), (3, 4), (10, -4), (7, 8), (0, 0))]
    assert graded(code, *cases).cells == (True,) * 5
    assert graded(code, *cases, fresh=True).cells == (True,) * 5
    assert graded(code, *(StdinCase(case.input, "x") for case in cases)).cells == (False,) * 5


def test_an_endless_run_costs_its_own_cell() -> None:
    """Of five runs the one that never ends is late."""
    code = "n = int(input())\nwhile n == 3:\n    pass\nprint(n)\n"
    result = graded(code, *(StdinCase(f"{n}\n", f"{n}\n") for n in range(5)), timeout=1.0)
    assert result.statuses == ("ok", "ok", "ok", "timeout", "ok")


TOOLS = """
import math
LIMIT = 7
def add(a, b):
    return a + b
def sort(items, key=None):
    items.sort()
def fill(box, nested):
    box['n'] = 1
    nested[0].append(2)
def fail(kind):
    raise {'key': KeyError, 'own': Own, 'value': ValueError}[kind](kind)
class Own(ArithmeticError):
    pass
def numbers(n):
    for i in range(n):
        yield i
class Stack:
    def __init__(self, items):
        self.items = items
    def __len__(self):
        return len(self.items)
    def __getitem__(self, at):
        return self.items[at]
    def __str__(self):
        return f'Stack of {len(self.items)}'
    def __eq__(self, other):
        return True
    def push(self, item):
        self.items.append(item)
        return self
def adder(n):
    return lambda m: n + m
def top(stack):
    return stack.items[-1]
def nothing():
    pass
"""


@pytest.mark.parametrize(
    ("source", "status"),
    [
        ("assert add(1, 2) == 3", "ok"),
        ("assert add(1, b=2) == 3", "ok"),
        ("assert add(1, 2) == 4", "wrong"),
        ("assert add((1,), (2,)) == (1, 2)", "ok"),
        ("assert add({1: 'a'}, 2)", "error"),
        ("assert add(1 << 100, 1j) == complex(1 << 100, 1)", "ok"),
        ("assert add(b'a', b'b') == b'ab' and add('a', '\\ud800') == 'a\\ud800'", "ok"),
        ("assert add(float('inf'), 1) == float('inf') and add(float('nan'), 1) != 0", "ok"),
        ("items = [3, 1]\nsame = items\nassert sort(items) is None\nassert same == [1, 3]", "ok"),
        (
            "box, inner = {}, [1]\nfill(box, nested=[inner])\nassert box == {'n': 1} and inner == [1, 2]",
            "ok",
        ),
        (
            "try:\n    fail('key')\n    assert 0\nexcept KeyError as error:\n    assert 'key' in str(error)",
            "ok",
        ),
        (
            "try:\n    fail('own')\n    assert 0\nexcept ArithmeticError as error:\n    assert str(error) == 'own'",
            "ok",
        ),
        ("fail('value')", "error"),
        ("assert list(numbers(3)) == [0, 1, 2]", "ok"),
        ("assert sum(numbers(4)) == 6 and next(numbers(1)) == 0 and 2 not in list(numbers(2))", "ok"),
        ("stack = Stack([1])\nassert len(stack.push(5)) == 2 and stack[1] == 5 and stack.items == [1, 5]", "ok"),
        ("assert str(Stack([1])) == 'Stack of 1' and f'{Stack([])}' == 'Stack of 0'", "ok"),
        ("assert top(Stack([1, 2])) == 2", "ok"),
        ("assert [n for n in Stack([1, 2])] == [1, 2]", "ok"),
        ("assert Stack([1]) == Stack([1])", "ungradable"),
        ("assert Stack([1]) != Stack([1])", "ungradable"),
        ("try:\n    assert Stack([1]) == 1\nexcept BaseException:\n    pass", "ungradable"),
        ("assert isinstance(Stack([]), Stack)", "ungradable"),
        ("assert Stack([1]) in [1, 2]", "ungradable"),
        ("assert {Stack([1])}", "ungradable"),
        ("assert add(1, len) == 1", "ungradable"),
        ("assert adder(2)(3) == 5", "ok"),
        ("assert numbers(3) == [0, 1, 2]", "wrong"),
        ("assert adder(2) == 5", "wrong"),
        ("assert add == add and add != sort and len({add, sort, add}) == 2", "ok"),
        ("assert LIMIT == 7 and math.floor(2.5) == 2", "ok"),
        ("assert add.__name__ == 'add'", "ok"),
        ("from solution import add as plus\nassert plus(2, 2) == 4", "ok"),
        ("import solution\nassert solution.add(2, 2) == 4", "ok"),
        ("def test_it():\n    assert add(1, 1) == 2\ntest_it()", "ok"),
        ("assert all(add(n, n) == 2 * n for n in range(5))", "ok"),
        ("assert nothing() is None and not nothing()", "ok"),
        ("assert nothing() + 1 == 1", "wrong"),
        ("assert unknown(1) == 1", "error"),
        ("import a_module_that_is_not_there", "ungradable"),
        ("assert (", "ungradable"),
        ("assert numpy.array([1]) is not None", "error"),
    ],
)
def test_asserts(source: str, status: str) -> None:
    """A test sees what it would see in one process, or is ungradable; what it is compared with stays with it."""
    assert graded(TOOLS, AssertCase(source)).statuses == (status,)


def test_checks() -> None:
    """A check gets the program's function; without that function it fails."""
    check = "def check(candidate):\n    assert candidate(1, 2) == 3\n"
    assert graded(TOOLS, CheckCase(check, "add")).cells == (True,)
    assert graded(TOOLS, CheckCase(check, "absent")).statuses == ("error",)
    assert graded(TOOLS, CheckCase(check.replace("3", "4"), "add")).statuses == ("wrong",)


def test_setup_is_trusted() -> None:
    """Helpers of the problem are the tests' own, whatever the program calls so; its stubs are the program's to define.

    The program answers 0 for f and says that ``distance`` of anything is 0.
    """
    setup = 'import math\ndef distance(a, b):\n    return abs(a - b)\ndef f(x):\n    """Return x + 1."""\n'
    code = "def distance(a, b):\n    return 0\ndef f(x):\n    return {}\n"
    check = CheckCase("def check(candidate):\n    assert distance(candidate(1), 2) < 1e-9\n", "f")
    one = AssertCase("assert distance(f(1), 2) < 1e-9 and math.pi > 3")
    assert graded(code.format("0"), check, one, setup=setup).cells == (False, False)
    assert graded(code.format("x + 1"), check, one, setup=setup).cells == (True, True)
    unfinished = "class Solution:\n    def f(self, x):"
    solution = "class Solution:\n    def f(self, x):\n        return x + 1\n"
    assert graded(solution, AssertCase("assert Solution().f(1) == 2"), setup=unfinished).cells == (True,)
    assert graded(code.format("2"), one, setup="import nothing_of_this_name").statuses == ("ungradable",)
    assert graded(code.format("2"), one, setup="def (").statuses == ("ungradable",)


def test_builtins_are_the_tests_own() -> None:
    """A program's ``abs`` does not touch a test, except where the task itself is a function of that name."""
    liar = "def f(x):\n    return 0\ndef abs(x):\n    return 0\n"
    assert graded(liar, AssertCase("assert abs(f(1) - 5) < 1")).statuses == ("wrong",)
    task = "def sum(a, b):\n    return a * b\n"
    assert graded(task, AssertCase("assert sum(2, 3) == 6"), AssertCase("assert sum(1, 1) == 1")).cells == (True, True)
    assert graded(task, CheckCase("def check(candidate):\n    assert candidate(2, 3) == 6\n", "sum")).cells == (True,)


def test_tools_are_the_tests_own() -> None:
    """A program's ``isclose`` or ``Counter`` does not touch a test, unless the task is a function of that name."""
    liar = "def f(x):\n    return {}\ndef Counter(x):\n    return {}\ndef isclose(a, b):\n    return True\n"
    assert graded(liar, AssertCase("assert f('aab') == Counter('aab')")).statuses == ("wrong",)
    assert graded(liar.replace("return {}", "return 1", 1), AssertCase("assert isclose(f(1), 2)")).cells == (False,)
    honest = "from collections import Counter\ndef f(x):\n    return Counter(x)\n"
    assert graded(honest, AssertCase("assert f('aab') == Counter('aab')")).cells == (True,)
    task = "def sqrt(x):\n    return 'mine'\n"
    assert (
        graded(task, AssertCase("assert sqrt(4) == 'mine'"), AssertCase("assert sqrt(9) == 'mine'")).cells
        == (True,) * 2
    )


def test_a_check_without_check_is_ungradable() -> None:
    """Test code that defines no ``check`` is not the program's fault, even if the program defines one."""
    code = "def f(x):\n    return 0\ndef check(candidate):\n    pass\n"
    assert graded(code, CheckCase("def test(candidate):\n    assert candidate(1) == 1\n", "f")).statuses == (
        "ungradable",
    )


def test_much_output_of_many_calls_is_not_too_much_of_one() -> None:
    """Forty calls of 64 KB of output and answer each are fine; one call of 2 MB is not."""
    code = "def f(n):\n    print('x' * n)\n    return 'y' * (n // 2)\n"
    calls = [CallCase("f", (65_536,), expected="y" * 32_768)] * 40
    result = graded(code, *calls, CallCase("f", (2_000_000,), expected="y" * 1_000_000))
    assert result.statuses == ("ok",) * 40 + ("output_limit",)


def test_test_code_that_ends_a_process_costs_its_own_cell() -> None:
    """Of four asserts one makes the program exit and one never ends."""
    code = "import os\ndef f(n):\n    if n == 1:\n        os._exit(0)\n    while n == 2:\n        pass\n    return n\n"
    result = graded(code, *(AssertCase(f"assert f({n}) == {n}") for n in range(4)), timeout=1.0)
    assert result.statuses == ("ok", "crashed", "timeout", "ok")


def test_kinds_may_be_mixed() -> None:
    """One job with a case of every kind: each cell by its own grader."""
    code = "def add(a, b):\n    return a + b\nif __name__ == '__main__':\n    print(add(int(input()), 1))\n"
    result = graded(
        code,
        StdinCase("4", "5"),
        AssertCase("assert add(1, 1) == 3"),
        CallCase("add", (1, 1), expected=2),
        CheckCase("def check(candidate):\n    assert candidate('a', 'b') == 'ab'\n", "add"),
    )
    assert result.cells == (True, False, True, True)
    assert result.execution.mode == "blackbox+two_process"


def test_same_process_is_marked() -> None:
    """Tests that compare a program's objects run beside it; the result says that this gives no integrity."""
    cases = AssertCase("assert Stack([1]) == Stack([1])"), AssertCase("assert isinstance(Stack([]), Stack)")
    result = graded(TOOLS, *cases, AssertCase("assert add(1, 1) == 3"), mode="same_process")
    assert result.cells == (True, True, False)
    assert result.execution.mode == "same_process"
