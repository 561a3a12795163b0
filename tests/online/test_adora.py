"""Worked numbers of dynamic advantage estimation."""

from __future__ import annotations

import math

import pytest

from prefopt import recipes
from prefopt.online.adjust import LengthAdvantage
from tests.online.samples import advantages, rollouts

HALF = [1.0, 1, 0, 0]


def first(rewards: list[float], lengths: list[int], **settings: object) -> float:
    """The first row's advantage."""
    return advantages("adora", rollouts(rewards, lengths=lengths), **settings)[0, 0].item()


def test_short_successes_are_attenuated():
    """Longest success 120, mean failure (200 + 240) / 2 = 220: a tenth of the z-score 0.5 / 0.57735 = 0.8660."""
    assert first(HALF, [100, 120, 200, 240]) == pytest.approx(0.0866, abs=5e-5)


def test_long_successes_count_in_full():
    """Longest success 300 against 220."""
    assert first(HALF, [300, 120, 200, 240]) == pytest.approx(0.8660, abs=5e-5)


def test_amplification():
    """The language variant doubles groups that are longer in success and at most half solved: 1.7320; others stay."""
    assert first(HALF, [300, 120, 200, 240], variant="language") == pytest.approx(1.7320, abs=1e-4)
    assert first(HALF, [100, 120, 200, 240], variant="language") == pytest.approx(0.8660, abs=5e-5)
    three = math.sqrt(3 / 16 * 4 / 3)  # sd of (1, 1, 1, 0)
    assert first([1.0, 1, 1, 0], [300, 120, 200, 240], variant="language") == pytest.approx(0.25 / three)
    assert first([1.0, 1, 1, 0], [300, 120, 200, 240], variant="language", criterion="or") == pytest.approx(0.5 / three)


def test_failures_at_the_cap_do_not_count():
    """Failures of 200 and 400: mean 300 against a success of 250; without the one at the cap of 400 it is 200."""
    lengths = [250, 120, 200, 400]
    assert first(HALF, lengths) == pytest.approx(0.0866, abs=5e-5)
    assert first(HALF, lengths, length_cap=400) == pytest.approx(0.8660, abs=5e-5)


@pytest.mark.parametrize(("variant", "solved", "unsolved"), [("vision", 0.1, 1.0), ("released_language", 1.0, 0.1)])
def test_groups_without_failures_or_successes(variant, solved, unsolved):
    """Graded rewards that all succeed, or all fail: the two code bases disagree. The z-score of (x, x + 1) is -0.7071.

    Vision takes the missing mean failure as infinitely long and lets unsolved groups be; the language code takes either
    missing length as minus infinity.
    """
    for rewards, factor in (([2.0, 3.0], solved), ([-2.0, -1.0], unsolved)):
        assert first(rewards, [1, 2], variant=variant) == pytest.approx(-factor * math.sqrt(0.5))


def test_the_language_code_wants_rewards_above_one():
    """Reward 1 is no success there, so that a group of (1, 0) has none and is attenuated."""
    assert first([1.0, 0.0], [9, 2], variant="released_language") == pytest.approx(0.1 * math.sqrt(0.5))
    assert first([1.1, 0.1], [9, 2], variant="released_language") == pytest.approx(math.sqrt(0.5))


def test_factor_is_the_same_for_the_whole_group():
    """Advantages of a group still add up to 0."""
    found = advantages("adora", rollouts(HALF, lengths=[1, 2, 3, 4]))[:, 0]
    assert found.sum().item() == pytest.approx(0, abs=1e-6)
    assert found.abs().tolist() == pytest.approx([0.0866] * 4, abs=5e-5)


def test_unknown_settings():
    """The message names the variants, or the criteria."""
    with pytest.raises(ValueError, match="one of vision, language, released_language, not 'llm'"):
        recipes.build("adora", variant="llm")
    with pytest.raises(ValueError, match="one of length, difficulty, and, or, not 'both'"):
        LengthAdvantage(criterion="both")
