"""Worked numbers of asymmetric advantages."""

from __future__ import annotations

import pytest

from prefopt import recipes
from tests.online.samples import advantages, rollouts

HARD_AND_EASY = rollouts([1.0, 0, 0, 0, 1, 1, 1, 0], [0] * 4 + [1] * 4)


def test_focus():
    """Groups (1, 0, 0, 0) and (1, 1, 1, 0), p = 1/4 and 3/4, w = 1/2, unbiased z-scores 1.5, -0.5 and 0.5, -1.5.

    Both groups: factor 0.25 / 0.5 + 0.25 / 0.866025 = 0.788675, so (1.1830, -0.3943) and (0.3943, -1.1830). With
    alpha = 1/2 nothing is damped.
    """
    found = advantages("a_grae", HARD_AND_EASY, alpha=0.5, eps=0.0)[:, 0].tolist()
    assert found == pytest.approx([1.1830] + [-0.3943] * 3 + [0.3943] * 3 + [-1.1830], abs=5e-5)


def test_damped_positives():
    """alpha = 1: positive advantages times w / alpha = 1/2: 0.5915 and 0.1972; negative ones as before."""
    found = advantages("a_grae", HARD_AND_EASY, eps=0.0)[:, 0].tolist()
    assert found == pytest.approx([0.5915] + [-0.3943] * 3 + [0.1972] * 3 + [-1.1830], abs=5e-5)


def test_released_easy_term():
    """1 - sqrt(3/4) = 0.133975: factor 0.25 / 0.866025 + 0.25 / 0.133975 = 2.154701, times -1.5 = -3.2320."""
    found = advantages("a_grae", HARD_AND_EASY, easy="released", eps=0.0)[:, 0].tolist()
    assert found[7] == pytest.approx(-3.2320, abs=1e-4)


def test_uniform_groups_are_silent():
    """p = 0 and p = 1 give 0, and still count in w: (0 + 0 + 1 + 1 + 1 + 0) / 6 = 1/2."""
    found = advantages("a_grae", rollouts([0.0, 0, 1, 1, 1, 0], [0, 0, 1, 1, 2, 2]), eps=0.0)[:, 0].tolist()
    # p = w = 1/2: factor 2 * 0.25 / sqrt(1/2) = 0.707107; z-scores +-0.707107; the positive one halved.
    assert found == pytest.approx([0, 0, 0, 0, 0.25, -0.5])


def test_rewards_of_another_range():
    """Rewards -1 and 1 are mapped to 0 and 1; without saying so they are refused."""
    batch = rollouts([1.0, -1, -1, -1, 1, 1, 1, -1], [0] * 4 + [1] * 4)
    found = advantages("a_grae", batch, eps=0.0, reward_min=-1.0)
    assert found.flatten().tolist() == pytest.approx(advantages("a_grae", HARD_AND_EASY, eps=0.0).flatten().tolist())
    with pytest.raises(ValueError, match="Asymmetry reads as pass rates"):
        advantages("a_grae", batch)


def test_unknown_easy_term():
    """The message names both terms."""
    with pytest.raises(ValueError, match="one of paper, released, not 'code'"):
        recipes.build("a_grae", easy="code")
