"""Worked numbers of agreement with the group's mean interval."""

from __future__ import annotations

import math

import pytest
import torch

from prefopt import recipes
from prefopt.weighting.interval_agreement import IntervalAgreement, interval_statistics
from tests.online.samples import rollouts

STARTS, ENDS = [2.0, 4, 3, 3], [8.0, 10, 9, 9]


def batch(format_rewards: list[float], starts: list[float], ends: list[float]):
    return rollouts(format_rewards, predicted_starts=torch.tensor(starts), predicted_ends=torch.tensor(ends))


def test_reward():
    """Mean interval (3, 9), deviations 0.7071 each, c = exp(-0.1 * 1.4142) = 0.8681.

    (2, 8) shares 5 of 7 with it: 0.5 + 0.5 * 0.8681 * 5/7 = 0.8100, and so does (4, 10); (3, 9) itself gives 0.9341.
    """
    found = batch([1.0] * 4, STARTS, ENDS)
    rewards = IntervalAgreement(gamma=0.1)(found.rewards, found).tolist()
    assert rewards == pytest.approx([0.81, 0.81, 0.9341, 0.9341], abs=5e-5)


def test_unreadable_intervals():
    """Only (2, 8) and (4, 10) can be read: mean (3, 9), deviations 1; the others agree by 0 and keep their format."""
    found = batch([1.0, 1, 0, 0], [2.0, 4, math.nan, 9], [8.0, 10, 9, math.nan])
    agreement, spread = interval_statistics(
        *(found.extras[f"predicted_{side}"] for side in ("starts", "ends")), found.group
    )
    assert agreement.tolist() == pytest.approx([5 / 7, 5 / 7, 0, 0])
    assert spread.tolist() == pytest.approx([2] * 4)
    rewards = IntervalAgreement(gamma=0.0)(found.rewards, found).tolist()
    assert rewards == pytest.approx([0.5 + 2.5 / 7, 0.5 + 2.5 / 7, 0, 0])


def test_intervals_that_end_before_they_start():
    """(8, 2) beside (2, 8): the mean is the point (5, 5), which shares nothing with any interval."""
    found = batch([1.0, 1], [8.0, 2], [2.0, 8])
    agreement, _ = interval_statistics(found.extras["predicted_starts"], found.extras["predicted_ends"], found.group)
    assert agreement.tolist() == [0, 0]


def test_confidence_cancels_in_a_z_score():
    """All formats are right, so the reward is 0.5 + c / 2 * IoU: its z-score knows no c. On the advantage c stays."""
    found = batch([1.0] * 4, STARTS, ENDS)

    def advantages(**settings: object) -> torch.Tensor:
        return recipes.build("urpa", **settings).prepare(found).advantages

    plain = advantages(gamma=0.0)
    torch.testing.assert_close(advantages(gamma=1.0), plain, rtol=5e-3, atol=0)  # up to eps
    torch.testing.assert_close(advantages(gamma=1.0, confidence_on="advantage"), math.exp(-math.sqrt(2)) * plain)


def test_unscored_rows_are_in_no_mean():
    """Without the first row the mean interval is (10/3, 28/3)."""
    found = batch([math.nan, 1, 1, 1], STARTS, ENDS)
    rewards = IntervalAgreement(gamma=0.0)(found.rewards, found).tolist()
    assert math.isnan(rewards[0])
    assert rewards[1] == pytest.approx(0.5 + 0.5 * (28 / 3 - 4) / (10 - 10 / 3))
