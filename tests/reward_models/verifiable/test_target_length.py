"""Lengths that the prompt asks for, at numbers that can be worked out by hand."""

from __future__ import annotations

import pytest

from reward_models.errors import ModelError
from reward_models.verifiable import LengthLimit, TargetLength, build_verifier


def tokens(*lengths: int) -> list[list[int]]:
    """Completions' ids: only their number matters."""
    return [[0] * length for length in lengths]


def test_distance_to_the_target() -> None:
    """0.0003 * 500 = .15 and 0.0003 * 1000 = .3: with rewards 1, 0, 1 of the task the sums are .85, -.15, .70."""
    penalty = TargetLength()(
        ["?"] * 3, [""] * 3, completion_ids=tokens(2500, 2500, 9000), target_length=[2000, 2000, 10000]
    )
    assert [task + cost for task, cost in zip([1, 0, 1], penalty, strict=True)] == pytest.approx([0.85, -0.15, 0.70])


def test_limit() -> None:
    """L* = 4000: .0003 * (1000, -1000, -2000) + .5 = .8, .2, -.1 -> 0; a wrong answer gets 0."""
    found = LengthLimit()(
        ["?"] * 4,
        [""] * 4,
        completion_ids=tokens(3000, 5000, 6000, 3000),
        target_length=[4000] * 4,
        correct=[1.0, 1.0, 1.0, 0.0],
    )
    assert found == pytest.approx([0.8, 0.2, 0, 0])


def test_what_is_not_known_is_none() -> None:
    """No target, or no verdict: None, not 0."""
    given = {"completion_ids": tokens(1, 1), "target_length": [None, 4]}
    assert TargetLength()(["?"] * 2, [""] * 2, **given)[0] is None
    assert LengthLimit()(["?"] * 2, [""] * 2, correct=[1.0, None], **given) == [None, None]


def test_bad_settings_and_columns() -> None:
    """Each names what is wrong, and the fix."""
    with pytest.raises(ModelError, match="rate is what a unit of length costs"):
        build_verifier("target_length", {"rate": 0})
    with pytest.raises(ModelError, match="unit 'lines' is unknown"):
        build_verifier("length_limit", {"unit": "lines"})
    with pytest.raises(ModelError, match="length that each prompt asks for"):
        TargetLength(unit="words")(["?"], ["a b"])
    assert LengthLimit().reads == ("target_length", "correct")
    assert TargetLength().reads == ("target_length",)
