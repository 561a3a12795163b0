"""Worked numbers of INTELLECT-2: advantages, filters and the length-target reward."""

from __future__ import annotations

import pytest
import torch

from prefopt import recipes
from prefopt.online.sampling import SolveRateBand
from tests.online.samples import advantages, rollouts


def test_advantages():
    """(1, 0, 0, 1): +-.5 / (.57735 + 1e-6) = +-.8660."""
    found = advantages("intellect2", rollouts([1.0, 0, 0, 1]))[:, 0]
    torch.testing.assert_close(found, 0.8660 * torch.tensor([1.0, -1, -1, 1]), atol=5e-5, rtol=0)


def test_groups_without_signal_are_left_out():
    """Groups (1, 0) and (1, 1): the mean over tokens counts the first alone."""
    batch = rollouts([1.0, 0, 1, 1], groups=[0, 0, 1, 1], lengths=[1, 3, 2, 2])
    weights = recipes.build("intellect2").prepare(batch).weights
    assert weights.sum(-1).tolist() == pytest.approx([1 / 4, 3 / 4, 0, 0])


def test_solve_rates():
    """[.1, .8] keeps .1 and .8 and leaves .05 and .9 out."""
    rates = torch.tensor([0.05, 0.1, 0.8, 0.9])
    batch = rollouts([0.0, 1, 0, 1], prompt_solve_rate=rates)
    weights = recipes.build("intellect2", solve_rate=(0.1, 0.8)).prepare(batch).weights
    assert weights[:, 0].tolist() == [0, 0.5, 0.5, 0]
    assert SolveRateBand() == SolveRateBand(0.1, 0.8)
    with pytest.raises(ValueError, match="0 <= low <= high <= 1"):
        SolveRateBand(0.9, 0.1)


def test_its_clip():
    """delta 4 and epsilon .2; an entropy bonus of 1e-4, no KL unless asked."""
    objective = recipes.build("intellect2")
    assert (objective.gate.low, objective.gate.high, objective.gate.bound) == (0.2, 0.2, 4.0)
    assert objective.needs == {"policy.entropies"}
    assert recipes.build("intellect2", entropy=0.0).needs == frozenset()
