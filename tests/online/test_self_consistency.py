"""Worked numbers of the reward for consistent answers."""

from __future__ import annotations

import math

import pytest
import torch

from prefopt import recipes
from prefopt.weighting.consistency import Consistency, distinct_answers
from tests.online.samples import rollouts

# One, two, three and four distinct answers among four continuations; -1 is a continuation without an answer.
ANSWERS = torch.tensor([[3, 3, 3, 3], [3, -1, 3, -1], [3, 1, 2, 3], [-1, 0, 2, 1]])


def rewards(accuracy: list[float], **settings: object) -> list[float]:
    """What the weighting makes of four completions of one prompt."""
    batch = rollouts(accuracy, resampled_answers=ANSWERS)
    return Consistency(**settings)(batch.rewards, batch).tolist()


def test_distinct_answers():
    """{3}, {3, none}, {3, 1, 2}, {none, 0, 2, 1}: no answer counts as one."""
    assert distinct_answers(ANSWERS).tolist() == [1, 2, 3, 4]


def test_paper():
    """c = 1, N = 4, that is 0.25 an answer: (4 - |A|) / 4 = 0.75, 0.5, 0.25, 0."""
    assert rewards([0.0] * 4, per_answer=0.25) == pytest.approx([0.75, 0.5, 0.25, 0])


def test_released_code():
    """0.3 * (5 - |A|) = 1.2, 0.9, 0.6, 0.3."""
    assert rewards([0.0] * 4, offset=5) == pytest.approx([1.2, 0.9, 0.6, 0.3])


def test_offset_changes_no_advantage():
    """The code's offset adds 0.3 to every completion: group baselines take it out."""
    batch = rollouts([1.0, 0, 1, 0], resampled_answers=ANSWERS)
    found = [recipes.build("self_consistency", offset=offset).prepare(batch).advantages for offset in (None, 5)]
    torch.testing.assert_close(*found)


def test_beside_other_rewards():
    """Accuracy (1, 0, 1, 0) with 0.3 * (4 - |A|) = 0.9, 0.6, 0.3, 0; only correct ones: 0.9 and 0.3 stay."""
    assert rewards([1.0, 0, 1, 0]) == pytest.approx([1.9, 0.6, 1.3, 0])
    assert rewards([1.0, 0, 1, 0], only_correct=True) == pytest.approx([1.9, 0, 1.3, 0])


def test_unscored_rows_stay_unscored():
    """The bonus for consistency is added to an accuracy, and makes none up."""
    assert math.isnan(rewards([math.nan, 0, 1, 0])[0])
    assert math.isnan(rewards([math.nan, 0, 1, 0], only_correct=True)[0])


def test_with_another_estimator():
    """RLOO of (1.9, 0.6, 1.3, 0): 4/3 of the distance from 0.95."""
    batch = rollouts([1.0, 0, 1, 0], resampled_answers=ANSWERS)
    found = recipes.build("rloo", weighting="self_consistency").prepare(batch).advantages[:, 0]
    assert found.tolist() == pytest.approx([4 / 3 * x for x in (0.95, -0.35, 0.35, -0.95)], abs=1e-6)
