"""Mathematical answers: which one counts, what is equal, and what an endless one costs."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from reward_models.errors import ModelError
from reward_models.verifiable import MathAnswer, build_verifier, math_process
from reward_models.verifiable.final_answer import FinalAnswer, final_answer, reference_answer
from tests.test_module_graph import ROOT

needs_math_verify = pytest.mark.skipif(
    importlib.util.find_spec("math_verify") is None, reason="math-verify is not installed: pip install 'prefopt[math]'"
)
ENDLESS = r"\boxed{9^{9^{9^{9}}}}"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\boxed{1} or \boxed{2}", FinalAnswer("2", True)),
        (r"\boxed{\frac{1}{2}} it is 7", FinalAnswer(r"\frac{1}{2}", True)),
        (r"\boxed{\boxed{4}}", FinalAnswer("4", True)),
        (r"\boxed{1} \boxed{}", None),
        (r"\boxed{1} \boxed{2", None),
        (r"<think>\boxed{1}</think> \boxed{2}", FinalAnswer("2", True)),
        (r"\boxed{1}</think> I forgot", FinalAnswer("I forgot", False)),
        ("<answer>1</answer> <answer> 2 </answer> 3", FinalAnswer("2", True)),
        ("#### 1\n#### 2 dollars", FinalAnswer("2 dollars", False)),
        ("So 1 + 1 = 2\nA: 2", FinalAnswer("2", True)),
        ("The answer is **18**.", FinalAnswer("18", True)),
        ("The answer is $x=5$.", FinalAnswer("x=5", True)),
        ("first 12\n\nthen 46 apples.\n---", FinalAnswer("then 46 apples", False)),
        ("", None),
        ("?!", None),
        (r"\boxed{" + "1" * 2001 + "}", None),
    ],
)
def test_the_answer_that_counts(text: str, answer: FinalAnswer | None) -> None:
    """The last box, else the last tags, else what follows the last ####, else the last line from "answer is" on.

    A text without a word of three letters, LaTeX commands apart, is exact: it holds nothing but the answer.
    """
    assert final_answer(text) == answer


def test_a_reference_of_one_line_is_all_answer() -> None:
    """Of a completion "x = 5 or 6" would be searched for its last number; a reference is taken at its word."""
    assert reference_answer("five or six") == FinalAnswer("five or six", True)
    assert reference_answer("3 + 4 = 7\n#### 7") == FinalAnswer("7", True)
    assert reference_answer(r"So \boxed{7}.") == FinalAnswer("7", True)
    assert reference_answer(" ") is None


@needs_math_verify
@pytest.mark.parametrize(
    ("completion", "answer", "score"),
    [
        ("The answer is 0.5", r"\frac{1}{2}", 1.0),
        ("The answer is 1/2", "0.5", 1.0),
        (r"\boxed{\frac12}", "$0.5$", 1.0),
        (r"\boxed{2\sqrt{2}}", r"\sqrt{8}", 1.0),
        (r"\boxed{x^2+2x+1}", "(x+1)^2", 1.0),
        (r"\boxed{x=5}", "5", 1.0),
        (r"\boxed{\{2, 1\}}", r"\{1, 2\}", 1.0),
        (r"\boxed{5 > x}", "x < 5", 1.0),
        ("It costs \\$1,200.", "1200", 1.0),
        ("A: 18", "A: 18", 1.0),
        ("A: 17", "A: 18", 0.0),
        (r"\boxed{0.3334}", r"\frac{1}{3}", 0.0),
        ("blue", "Blue", 1.0),
        (r"\boxed{\text{Blue}}", "blue", 1.0),
        (r"\boxed{lube}", "blue", 0.0),
    ],
)
def test_equality(completion: str, answer: str, score: float) -> None:
    """Equal in value is equal, however it is written; letters of a word are no product, which could be reordered."""
    assert MathAnswer()(["?"], [completion], answer=[answer]) == [score]


@needs_math_verify
@pytest.mark.parametrize("answer", ["1", "2"])
def test_several_answers_do_not_help(answer: str) -> None:
    """Whoever lists 1 and 2 in any way is right about the last box at most."""
    listed = [r"\boxed{1, 2}", r"\boxed{1 \text{ or } 2}", r"\boxed{\{1, 2\}}"]
    assert MathAnswer()(["?"] * 3, listed, answer=[answer] * 3) == [0.0] * 3
    both = [r"\boxed{1} \boxed{2}", r"\boxed{2} \boxed{1}"]
    assert MathAnswer()(["?"] * 2, both, answer=[answer] * 2) == [float(answer == "2"), float(answer == "1")]


@needs_math_verify
def test_what_is_not_scored() -> None:
    """No reference, or one that cannot be read: None. A completion without a readable answer: 0."""
    verdicts = MathAnswer().judge(["1", "1", "1", "", r"\boxed{\frac}"], answer=[None, "", "\\garbage{", "1", "1"])
    assert [verdict.score for verdict in verdicts] == [None, None, None, 0.0, 0.0]
    assert [verdict.reason for verdict in verdicts] == [
        "no reference",
        "no reference",
        "reference: the reference cannot be read",
        "no answer",
        "the answer cannot be read",
    ]


@needs_math_verify
def test_an_endless_answer_is_wrong_and_an_endless_reference_is_not_scored() -> None:
    """9^9^9^9 has more digits than there are atoms. The deadline ends it, and the next answer is compared as before."""
    verifier = MathAnswer(deadline=1.0, workers=1)
    start = time.monotonic()
    verdicts = verifier.judge([ENDLESS, "1", r"\boxed{\frac12}"], ["1", ENDLESS, "0.5"])
    assert time.monotonic() - start < 30
    assert [verdict.score for verdict in verdicts] == [0.0, None, 1.0]
    assert verdicts[0].reason == "the comparison with this answer did not end: no verdict within 1 s"
    assert verdicts[1].reason == "reference: no verdict within 1 s"


@needs_math_verify
def test_from_threads_and_without_signals() -> None:
    """Any thread may ask, several at a time; equal questions of a batch are asked once."""
    verifier = MathAnswer(workers=2)
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(verifier, ["?"] * 4, [r"\boxed{\frac12}"] * 3 + ["1"], ["0.5"] * 4) for _ in range(3)]
        assert [one.result() for one in asked] == [[1.0, 1.0, 1.0, 0.0]] * 3
    assert threading.current_thread() is threading.main_thread()
    math_process.end_all()
    assert verifier(["?"], [r"\boxed{\frac12}"], ["0.5"]) == [1.0]


@needs_math_verify
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_has_its_own_and_none_stays() -> None:
    """Parent and child ask at the same time and both get the right answers; afterwards no process is left."""
    program = """
import os, sys
from reward_models.verifiable import MathAnswer, math_process
ask = lambda answer: MathAnswer()(["?"] * 2, [r"\\boxed{\\frac12}"] * 2, [answer, "7"])
first = ask("0.5")
before = {checker._process.pid for checker in math_process._ALL}
child = os.fork()
if child == 0:
    right = ask("1/2") == [1.0, 0.0] and not before & {checker._process.pid for checker in math_process._ALL}
    sys.stdout.flush()
    math_process.end_all()
    os._exit(0 if right else 1)
right = first == ask(r"\\frac{2}{4}") == [1.0, 0.0]
_, status = os.waitpid(child, 0)
print(right and status == 0, *before)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    right, *processes = done.stdout.split()
    assert right == "True"
    assert processes
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(int(process), 0)


def test_what_it_refuses() -> None:
    """Settings without sense are refused when built."""
    with pytest.raises(ModelError, match="deadline must be positive"):
        build_verifier("math_answer", {"deadline": 0})
    with pytest.raises(ModelError, match="workers must be at least 1"):
        MathAnswer(workers=0)


def test_without_math_verify(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to install."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"pip install 'prefopt\[math\]'"):
        MathAnswer()
