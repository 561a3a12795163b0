"""Transforms of a reward."""

from __future__ import annotations

import math

import pytest
import torch

from reward_models.errors import ModelError
from reward_models.transforms import Clip, Identity, LogSigmoid, Scale, build_transform

REWARDS = torch.tensor([0.0, 2.0, torch.nan])


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        (Identity(), [0.0, 2.0, math.nan]),
        (Scale(2.0, centre=1.0), [-2.0, 2.0, math.nan]),
        (Clip(-1.0, 1.0), [0.0, 1.0, math.nan]),
        # log sigmoid(-2) = -2.126928, log sigmoid(0) = -log 2
        (LogSigmoid(2.0), [-2.126928, -0.693147, math.nan]),
    ],
)
def test_values(transform: object, expected: list[float]) -> None:
    """The formula, element by element; a missing score stays missing."""
    torch.testing.assert_close(transform(REWARDS), torch.tensor(expected), equal_nan=True)  # type: ignore[operator]


def test_by_name() -> None:
    """A name, a mapping with a name, a transform, or nothing."""
    assert build_transform("clip") == Clip()
    assert build_transform({"name": "scale", "factor": 0.5}) == Scale(0.5)
    assert build_transform(Clip(0.0, 1.0)) == Clip(0.0, 1.0)
    assert build_transform(None) == Identity()
    with pytest.raises(ModelError, match="low < high"):
        build_transform({"name": "clip", "low": 2.0, "high": 1.0})
