"""Fifty steps of each of eleven recipes are what they were, and no quality has fallen. See `scripts.golden`."""

from __future__ import annotations

import math

import pytest

from scripts.golden import FOLDER, NORM, RECIPES, STEPS, TOLERANCE, course, fallen, furthest, stored


@pytest.mark.parametrize("name", RECIPES)
def test_the_course_is_what_it_was(name: str) -> None:
    """Losses, norms of gradients and parameters every fifth step, and quality at the end, to `TOLERANCE`."""
    now, then = course(name), stored(name)
    difference, where = furthest(now, then)
    # First what matters most: a course may change for a good reason, and a worse end has none.
    assert fallen(now, then) <= TOLERANCE, f"{name} ends at {now['quality']}, which was {then['quality']}"
    assert difference <= TOLERANCE, f"{name}: {where}; scripts/golden.py says when it may be written down anew"


def test_what_is_stored() -> None:
    """A file a recipe, ten values a figure, all finite, and each recipe has moved its parameters."""
    assert {path.stem for path in FOLDER.glob("*.json")} == set(RECIPES)
    for name in RECIPES:
        then = stored(name)
        assert all(len(then[key]) == STEPS // 5 for key in ("loss", "grad_norm", NORM)), name
        assert all(math.isfinite(value) for key in ("loss", "grad_norm", NORM) for value in then[key]), name
        assert len(set(then[NORM])) == STEPS // 5, name


def test_a_difference_is_found() -> None:
    """A loss of 2.0 that was 1.0, in a course whose largest is 4, is a quarter off, at its third place, step 15. A
    quality of 0.9 in place of 1.0 has fallen by a tenth, one of 1.1 has not.
    """
    then = {"loss": [4.0, 3.0, 1.0], "grad_norm": [1.0], NORM: [1.0], "quality": 1.0}
    now = {**then, "loss": [4.0, 3.0, 2.0]}
    assert furthest(then, then) == (0.0, "nowhere")
    assert furthest(now, then) == (0.25, "loss at step 15")
    assert fallen({"quality": 0.9}, then) == pytest.approx(0.1)
    assert fallen({"quality": 1.1}, then) < 0
