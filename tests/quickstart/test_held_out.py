"""Sampling and judging on held-out prompts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from datasets import Dataset

from prefopt import assets
from prefopt.quickstart.held_out import Judged, estimate, score
from prefopt.quickstart.sampling import Completions, sample
from prefopt.quickstart.settings import VERIFIER, EvaluationSettings, Settings
from prefopt.trainers.rewards.reading import read_sources

QUESTIONS = ["What is 37 plus 48?", "Can you tell me 85 minus 12?", "Please tell me 60 plus 11."]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path, evaluation=EvaluationSettings(resamples=2000))


def test_interval_of_two_prompts(settings: Settings) -> None:
    """Two prompts, one right: a resample's mean is 0 or 1 with probability 1/4 each, so the interval is [0, 1]."""
    found = estimate(torch.tensor([0.0, 1.0]), settings)
    assert (found.value, found.low, found.high) == (0.5, 0.0, 1.0)


def test_interval_of_many_prompts_is_that_of_the_normal_law(settings: Settings) -> None:
    """400 prompts, a quarter right: standard error sqrt(3/16 / 400) = 0.02165, interval 0.25 +- 1.96 * 0.02165."""
    found = estimate(torch.tensor([1.0, 0.0, 0.0, 0.0] * 100), settings)
    assert found.value == 0.25
    assert found.low == pytest.approx(0.25 - 0.0424, abs=0.006)
    assert found.high == pytest.approx(0.25 + 0.0424, abs=0.006)


def test_prompts_without_a_score_are_left_out(settings: Settings) -> None:
    """Of 1, 1 and none the mean is 1, and all resamples are alike."""
    found = estimate(torch.tensor([1.0, torch.nan, 1.0]), settings)
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)


def test_completions_are_scored_against_the_answer_of_their_own_prompt() -> None:
    """Two samples a prompt: 5 and 6 for the first, whose answer is 5; 6 and 6 for the second, whose answer is 6."""
    prompts = Dataset.from_dict({"prompt": ["a", "b"], "answer": ["5", "6"]})
    completions = Completions(("5.", "It is 6.", "Maybe 6.", "6."), (2, 4, 3, 2), samples=2)
    scores = score(completions, prompts, read_sources([{"source": "exact_answer", "name": VERIFIER}]))
    assert scores.tolist() == [[1.0], [0.0], [1.0], [1.0]]
    judged = Judged(completions, completions, {VERIFIER: scores.reshape(2, 2)}, torch.zeros(2))
    assert judged.right.tolist() == [0.5, 1.0]


def test_batches_and_padding_change_no_completion() -> None:
    """The most probable answer to a question is the same alone and beside longer questions."""
    folder = assets.path("tiny-policy")
    together = sample(folder, QUESTIONS, samples=0, longest=24, seed=0)
    alone = [sample(folder, [question], samples=0, longest=24, seed=0) for question in QUESTIONS]
    assert together.texts == tuple(one.texts[0] for one in alone)
    assert together.lengths == tuple(one.lengths[0] for one in alone)


def test_samples_follow_from_the_seed() -> None:
    folder = assets.path("tiny-policy")
    first, again, other = (sample(folder, QUESTIONS, samples=4, longest=24, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.texts != other.texts
    assert len(first.texts) == 12
