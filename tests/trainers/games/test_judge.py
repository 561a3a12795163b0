"""Who wins: scores and comparisons to matrices of win rates."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from prefopt.errors import UserError
from prefopt.trainers.games.judge import Judge, fingerprint, read_judge
from prefopt.trainers.rewards.reading import read_source
from prefopt.trainers.rewards.scores import RewardSourceError
from reward_models.failures import InfrastructureError, Ungradable
from reward_models.patience import Patience

NAN = math.nan


def lengths(prompts, completions):
    return [None if completion == "?" else float(len(completion)) for completion in completions]


def by_column(prompts, first, second, answer):
    return [0.9 if one == wanted else 0.4 for one, wanted in zip(first, answer, strict=True)]


def ask(judge: Judge, answers, **columns):
    return judge.load("cpu")(["p"] * len(answers), answers, columns)


def close(found: torch.Tensor, expected: list[list[float]]) -> None:
    torch.testing.assert_close(
        found.double(), torch.tensor(expected, dtype=torch.float64), atol=1e-4, rtol=0, equal_nan=True
    )


def test_scores_to_win_rates() -> None:
    """Lengths 2 and 1: sigmoid(1) = .7311; temperature 2: sigmoid(.5) = .6225; 0: certain, ties are 1/2."""
    (wins,), (scores,) = ask(read_judge(lengths), [["ab", "a"]])
    close(wins, [[0.5, 0.7311], [0.2689, 0.5]])
    assert scores.tolist() == [2, 1]
    (wins,), _ = ask(read_judge({"source": lengths, "temperature": 2}), [["ab", "a"]])
    close(wins, [[0.5, 0.6225], [0.3775, 0.5]])
    (wins,), _ = ask(read_judge({"source": lengths, "temperature": 0}), [["ab", "a", "b"]])
    close(wins, [[0.5, 1, 1], [0, 0.5, 0.5], [0, 0.5, 0.5]])


def test_a_missing_score_is_no_verdict() -> None:
    (wins,), _ = ask(read_judge(lengths), [["ab", "?", "a"]])
    close(wins, [[0.5, NAN, 0.7311], [NAN, 0.5, NAN], [0.2689, NAN, 0.5]])


def test_comparisons_in_both_orders() -> None:
    """It says .9 for the wanted one in first place, .4 for any other: (.9 + 1 - .4) / 2 = .75; asked once, .9 or .4."""
    both, none = ask(read_judge(by_column), [["x", "y"], ["y", "x"]], answer=["x", "x"])
    assert none is None
    close(both[0], [[0.5, 0.75], [0.25, 0.5]])
    close(both[1], [[0.5, 0.25], [0.75, 0.5]])
    once, _ = ask(read_judge({"source": by_column, "both_orders": False}), [["x", "y"], ["y", "x"]], answer=["x", "x"])
    close(once[0], [[0.5, 0.9], [0.1, 0.5]])
    close(once[1], [[0.5, 0.4], [0.6, 0.5]])


def test_one_order_without_a_verdict() -> None:
    """None in one of two orders leaves the other; None in both is no verdict."""

    def sometimes(prompts, first, second):
        return [0.8 if (one, other) == ("a", "b") else None for one, other in zip(first, second, strict=True)]

    (wins,), _ = ask(read_judge(sometimes), [["a", "b", "c"]])
    close(wins, [[0.5, 0.8, NAN], [0.2, 0.5, NAN], [NAN, NAN, 0.5]])


def test_columns_that_a_judge_reads() -> None:
    assert read_judge(by_column).required_columns() == {"answer": "answer"}
    assert read_judge({"source": by_column, "columns": {"answer": "gold"}}).required_columns() == {"answer": "gold"}
    assert read_judge(lengths).required_columns() == {}
    assert read_judge("exact_answer").required_columns() == {"answer": "answer"}
    assert read_judge(by_column).compares
    assert not read_judge(lengths).compares


def test_a_file_of_the_user(tmp_path: Path) -> None:
    file = tmp_path / "judge.py"
    file.write_text(
        "def shorter(prompts, first, second):\n    return [float(len(a) < len(b)) for a, b in zip(first, second)]\n"
    )
    (wins,), _ = ask(read_judge(f"{file}:shorter"), [["a", "bb"]])
    close(wins, [[0.5, 1.0], [0.0, 0.5]])


def test_another_judge_is_told_from_the_first(tmp_path: Path) -> None:
    """By the text of its file, its settings, and the files of a model; not by where the file lies."""
    text = "def judge(prompts, first, second):\n    return [0.{}] * len(first)\n"
    for name, digit in (("a", 6), ("b", 6), ("c", 7)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "judge.py").write_text(text.format(digit))
    a, b, c = (fingerprint(read_judge(f"{tmp_path / name}/judge.py:judge").source) for name in "abc")
    assert a == b != c
    plain, heavy = (fingerprint(read_judge({"source": "exact_answer", "weight": w}).source) for w in (1, 2))
    assert plain != heavy
    # How long a server is waited for says nothing about what it answers.
    one, patient = ({"source": "http://localhost:1", **keys} for keys in ({}, {"deadline": 9, "retries": 3}))
    assert fingerprint(read_judge(one).source) == fingerprint(read_judge(patient).source)
    before = fingerprint(read_judge(str(tmp_path / "a")).source)
    (tmp_path / "a" / "judge.py").write_text("changed")
    assert fingerprint(read_judge(str(tmp_path / "a")).source) != before


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([0.5], "judge 'bad' returned 1 scores, expected 2"),
        ([1.5, 0.5], r"gave 1\.5 for comparison 1; it must be the probability"),
    ],
)
def test_what_is_no_verdict(answer, message) -> None:
    def bad(prompts, first, second):
        return answer

    with pytest.raises(RewardSourceError, match=message):
        ask(read_judge(bad), [["a", "b"]])


def test_a_judge_that_raises() -> None:
    def broken(prompts, first, second):
        raise ZeroDivisionError("nothing there")

    with pytest.raises(RewardSourceError, match="judge 'broken' raised ZeroDivisionError: nothing there"):
        ask(read_judge(broken), [["a", "b"]])


def test_what_is_refused() -> None:
    with pytest.raises(UserError, match=r"judge: .*is no folder, no verifier"):
        read_judge("no-such-thing")
    with pytest.raises(UserError, match="temperature must be a number of at least 0"):
        read_judge({"source": lengths, "temperature": -1})
    with pytest.raises(UserError, match="both_orders must be true or false"):
        read_judge({"source": by_column, "both_orders": "no"})
    with pytest.raises(UserError, match="judge: unknown key 'temprature'"):
        read_judge({"source": lengths, "temprature": 1.0})


def test_failures_of_a_judge(caplog: pytest.LogCaptureFixture) -> None:
    """Asked in both orders, 4 comparisons of two prompts: the first fails for good, one asks to be asked again.

    Prompt p: (a, b) is None, (b, a) gives 0.25, so a wins 0.75. Prompt q: 0.5 at first refused, then given.
    """
    asked = []

    def shaky(prompts, first, second):
        asked.append(list(zip(prompts, first, second, strict=True)))
        known = {("p", "b", "a"): 0.25, ("q", "c", "d"): 0.5, ("q", "d", "c"): 0.5}
        later = InfrastructureError("busy")
        return [
            later if len(asked) == 1 and row == ("q", "c", "d") else known.get(row, Ungradable("unreadable"))
            for row in asked[-1]
        ]

    shaky.patience = Patience(row_wise=True)
    with caplog.at_level("WARNING"):
        wins, _ = Judge(read_source(shaky))(["p", "q"], [["a", "b"], ["c", "d"]], {})
    assert wins[0][0, 1].item() == pytest.approx(0.75)
    assert wins[1][0, 1].item() == pytest.approx(0.5)
    assert asked[1:] == [[("q", "c", "d")]]
    assert "judge 'shaky' gave no verdict on 1 of 4; the last failure: unreadable" in caplog.text
