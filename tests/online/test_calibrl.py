"""Worked numbers of expert-calibrated exploration."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from prefopt import recipes
from prefopt.batch import PolicyOutputs
from prefopt.online.regularise import ExpertGuide
from tests.online.samples import advantages, rollouts

NAN = float("nan")


def guide(correct, gap, **settings):
    """The penalty of one token at |A| = 1, coefficient 1, with an expert at -1."""
    batch = rollouts([1.0 if correct else 0.0], expert_logps=torch.tensor([[-1.0]]))
    part = ExpertGuide(coefficient=1.0, **settings)
    logps = torch.tensor([[gap - 1.0]])
    ones = torch.ones(1, 1)
    return part(PolicyOutputs(logps), batch, ones, ones, carried=part.carry(batch.rewards[:, 0], batch)).item()


@pytest.mark.parametrize(("correct", "gap", "expected"), [(1, -1, 1), (1, 1, -0.5), (0, 1, 1), (0, -1, -0.5)])
def test_guide(correct, gap, expected):
    """LeakyReLU(-s delta), slope 1/2."""
    assert guide(correct, gap) == pytest.approx(expected)


def test_advantages():
    """r = (1, 0, 0, 0): (.75, -.25 x 3), and |A| is 1 - p for correct and p for wrong ones."""
    batch = rollouts([1.0, 0, 0, 0], expert_logps=torch.zeros(4, 1))
    assert advantages("calibrl", batch)[:, 0].tolist() == pytest.approx([0.75, -0.25, -0.25, -0.25])


def contribution(batch, logps, **settings):
    """The regulariser's share of the loss."""
    objective = recipes.build("calibrl", **settings)
    whole = objective.loss(batch, objective.prepare(batch), PolicyOutputs(logps))
    bare = dataclasses.replace(objective, regularise=())
    return (whole - bare.loss(batch, bare.prepare(batch), PolicyOutputs(logps))).item()


def test_contribution():
    """The correct rollout at delta = -1 gives .1 * .75 * 1 = .075 to a mean over 4 tokens, the wrong at 0 nothing."""
    batch = rollouts([1.0, 0, 0, 0], expert_logps=torch.full((4, 1), -1.0))
    logps = torch.tensor([[-2.0], [-1.0], [-1.0], [-1.0]])
    assert contribution(batch, logps) == pytest.approx(0.075 / 4)


def test_after_the_end_of_the_expert():
    """No guide where the expert has no token; with its mean (-1) there is one: (.1 * .5 / 2 tokens a row) each.

    Rows (1, 0), two tokens at -2: delta = -1. Correct: 1 each, wrong: -.5 each; |A| = 1/2.
    """
    batch = rollouts([1.0, 0], lengths=[2, 2], expert_logps=torch.tensor([[-1.0, NAN], [-1.0, NAN]]))
    logps = torch.full((2, 2), -2.0)
    assert contribution(batch, logps) == pytest.approx(0.1 * 0.5 * (1 - 0.5) / 4)
    assert contribution(batch, logps, level="mean") == pytest.approx(2 * 0.1 * 0.5 * (1 - 0.5) / 4)


def test_uniform_group_has_no_guide():
    """r = (1, 1): A = 0, and the guide is weighted by |A|."""
    batch = rollouts([1.0, 1.0], expert_logps=torch.zeros(2, 1))
    assert contribution(batch, torch.tensor([[-2.0], [-3.0]])) == 0


def test_level_is_checked():
    """The message names both levels."""
    with pytest.raises(ValueError, match="level must be one of position, mean"):
        recipes.build("calibrl", level="token")
