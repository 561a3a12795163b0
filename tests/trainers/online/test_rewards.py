"""Calling reward sources: order, kinds of numbers, and what is no score."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prefopt.trainers.rewards.reading import read_source
from prefopt.trainers.rewards.scores import Completions, RewardSourceError, score_all
from prefopt.trainers.rewards.source import RewardSource
from prefopt.trainers.rewards.unscored import UnscoredLimit
from reward_models.transforms import Clip
from tests.trainers.online.support import trainer

BATCH = Completions(["p0", "p1", "p2"], ["c0", "c1", "c2"], {"prompt": ["p0", "p1", "p2"], "answer": [10, 11, 12]})


def score(*sources: Any) -> torch.Tensor:
    """Scores of three completions."""
    return score_all([read_source(source) for source in sources], BATCH)


def returning(value: Any) -> RewardSource:
    """A source that returns ``value``."""
    return RewardSource(lambda prompts, completions, **_: value, ("fixed",))


@pytest.mark.parametrize(
    "value",
    [
        [1, None, 2.5],
        (1.0, float("nan"), 2.5),
        [np.float32(1), np.float64("nan"), np.float16(2.5)],
        [torch.tensor(1.0), torch.tensor(torch.nan), torch.tensor(2.5)],
        np.array([1.0, np.nan, 2.5]),
        torch.tensor([1.0, torch.nan, 2.5], dtype=torch.float64),
        torch.tensor([[1.0], [torch.nan], [2.5]]),
        [[1.0], [None], [2.5]],
        [True, None, 2.5],
    ],
)
def test_kinds_of_numbers(value: Any) -> None:
    """Python, numpy and torch numbers, alone or in arrays: one float32 column, None and NaN as NaN."""
    expected = torch.tensor([[1.0], [torch.nan], [2.5]])
    torch.testing.assert_close(score(returning(value)), expected, equal_nan=True)


def test_order_and_columns() -> None:
    """Scores stand in the order of rows, columns in the order of sources; each source gets its own columns."""

    def number(prompts: Any, completions: Any, answer: list[int]) -> list[int]:
        return [int(text[1:]) + value for text, value in zip(completions, answer, strict=True)]

    def pair(prompts: Any, completions: Any, **columns: Any) -> torch.Tensor:
        assert set(columns) == {"answer"}
        return torch.arange(6.0).view(3, 2)

    pair.names = ("a", "b")  # type: ignore[attr-defined]
    assert score(number, pair).tolist() == [[10, 0, 1], [12, 2, 3], [14, 4, 5]]


def test_transforms_come_before_weights() -> None:
    """A transform acts on a score, and leaves a missing one missing: clip to [0, 1] of 1, None, 2.5."""
    source = RewardSource(lambda prompts, completions, **_: [1, None, 2.5], ("x",), transform=Clip(0.0, 1.0))
    torch.testing.assert_close(score(source), torch.tensor([[1.0], [torch.nan], [1.0]]), equal_nan=True)


def test_coroutines_run_side_by_side() -> None:
    """Two sources that wait for each other finish, which one after the other could not."""
    meeting: dict[str, asyncio.Event] = {}

    async def first(prompts: Any, completions: Any, **_: Any) -> list[float]:
        meeting["here"] = asyncio.Event()
        await asyncio.wait_for(meeting["here"].wait(), 5)
        return [1.0] * len(prompts)

    async def second(prompts: Any, completions: Any, **_: Any) -> list[float]:
        while "here" not in meeting:
            await asyncio.sleep(0)
        meeting["here"].set()
        return [2.0] * len(prompts)

    assert score(first, second).tolist() == [[1, 2]] * 3


def test_a_source_that_raises_shows_the_example() -> None:
    """The error names the source, and the row that fails alone: the second."""

    def picky(prompts: Any, completions: Any, answer: list[int]) -> list[float]:
        return [1 / (value - 11) for value in answer]

    with pytest.raises(RewardSourceError) as caught:
        score(picky)
    words = str(caught.value)
    assert "reward source 'picky' raised ZeroDivisionError: division by zero\non this example:" in words
    assert "prompt: 'p1'" in words
    assert "completion: 'c1'" in words
    assert "answer: 11" in words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([1.0, 2.0], r"'fixed' returned 2 scores, expected 3, one a completion"),
        (torch.zeros(3, 2), r"'fixed' returned \(3, 2\), expected 3"),
        ([[1.0, 2.0]] * 3, r"returned rows of \[2\] scores, expected 1"),
        ([1.0, float("inf"), 0.0], r"(?s)'fixed' gave infinity.*prompt: 'p1'.*completion: 'c1'"),
        ([1.0, "good", 0.0], r"(?s)'fixed' returned 'good', which is no number.*'c1'"),
        (0.5, r"'fixed' returned 0.5, expected a list"),
        (None, r"'fixed' returned None, expected a list"),
    ],
)
def test_what_is_no_score(value: Any, words: str) -> None:
    """Wrong length, infinity and text are errors that name the source, and the row where there is one."""
    with pytest.raises(RewardSourceError, match=words):
        score(returning(value))


def observe(limit: UnscoredLimit, missing: int, rows: int = 20) -> None:
    """A generation batch of which ``missing`` rows have no score."""
    rewards = torch.zeros(rows, 1)
    rewards[:missing] = torch.nan
    limit.observe(rewards, ["judge"], [False])


def test_the_circuit_breaker() -> None:
    """5 % of a window of 10 batches of 20 is 10: ten missing scores pass, the eleventh stops the run."""
    limit = UnscoredLimit(0.05, 10)
    for missing in (6, 0, 4):
        observe(limit, missing)
    with pytest.raises(RewardSourceError, match=r"'judge' left 11 of 80 completions unscored.* allows 10 within 10"):
        observe(limit, 1)


def test_an_outage_stops_at_once_and_old_failures_are_forgotten() -> None:
    """Twenty missing of one batch stop; ten a window never do, once the old ones have left it."""
    with pytest.raises(RewardSourceError, match="20 of 20"):
        observe(UnscoredLimit(0.05, 10), 20)
    limit = UnscoredLimit(0.05, 10)
    for turn in range(40):
        observe(limit, 10 if turn % 10 == 0 else 0)


def test_a_source_may_abstain() -> None:
    """A source for some prompts only is no failing source."""
    limit = UnscoredLimit(0.05, 10)
    limit.observe(torch.full((20, 1), torch.nan), ["judge"], [True])


def test_a_run_stops_with_the_example(tmp_path: Path) -> None:
    """The same in a run: the source's error ends it, with prompt, completion and columns."""

    def fragile(prompts: Any, completions: Any, answer: list[str], **_: Any) -> list[float]:
        raise KeyError("no such thing")

    run = trainer(tmp_path, [fragile])
    with pytest.raises(RewardSourceError, match=r"(?s)'fragile' raised KeyError.*prompt: '\d+\+\d+='.*answer: '\d+'"):
        run.train()


def test_a_run_stops_at_the_limit(tmp_path: Path) -> None:
    """Every score missing: the run stops in its first batch, and says how many."""
    run = trainer(tmp_path, [returning([None] * 8)])
    with pytest.raises(RewardSourceError, match="'fixed' left 8 of 8 completions unscored"):
        run.train()
