"""Worked numbers of damping by disagreement, and of the perception term."""

from __future__ import annotations

import math

import pytest
import torch

from prefopt import recipes
from prefopt.batch import PolicyOutputs
from prefopt.online.adjust import PredictionSpread
from prefopt.online.regularise import Perception
from tests.online.samples import advantages, rollouts

REWARDS = [1.0, 0, 0, 0]


def factor(predictions: list[float]) -> float:
    """By how much a group with these predictions is damped."""
    batch = rollouts(REWARDS, predictions=torch.tensor(predictions))
    return PredictionSpread()(torch.ones(4, 1), batch.rewards[:, 0], batch)[0].item()


@pytest.mark.parametrize(
    ("predictions", "expected"),
    [
        ([3.0, 4, 2, 3], 0.9753),
        ([1.0, 5, 1, 5], 0.8187),
        ([-9.0, 5, 1, 99], 0.8187),
        ([3.0, 4, 2, math.nan], math.exp(-0.2 / 6)),
        ([3.0, math.nan, math.nan, math.nan], 1.0),
    ],
)
def test_weight(predictions, expected):
    """v = (0 + 1 + 1 + 0) / 4 = 0.5 of at most 4: exp(-0.2 / 8) = 0.9753. v = 4: exp(-0.2) = 0.8187.

    Predictions are clamped to [1, 5]; three predictions (3, 4, 2) have v = 2/3, u = 1/6; one has none.
    """
    assert factor(predictions) == pytest.approx(expected, abs=5e-5)


def test_advantages():
    """0.9753 of the z-score 0.75 / 0.5 (eps 0)."""
    found = advantages("q_hawkeye", rollouts(REWARDS, predictions=torch.tensor([3.0, 4, 2, 3])), eps=0.0)[:, 0]
    assert found.tolist() == pytest.approx([0.9753 * 1.5] + [-0.9753 * 0.5] * 3, abs=1e-4)


def test_perception():
    """d = log 2: exp(d) - d - 1 = 0.306853; minus half of that. Its gradient on log pi is 0.5 (exp(d) - 1)."""
    batch = rollouts([0.0])
    logps = torch.full((1, 1), -math.log(2) - 1, requires_grad=True)
    policy = PolicyOutputs(logps, {"degraded_logps": torch.full((1, 1), -1.0)})
    penalty = Perception(0.5)(policy, batch, torch.ones(1, 1), torch.ones(1, 1))
    assert penalty.item() == pytest.approx(-0.5 * 0.306853, abs=1e-6)
    assert torch.autograd.grad(penalty.sum(), logps)[0].item() == pytest.approx(0.5)


def test_perception_is_bounded():
    """d = 50 is taken as 20, exp(20) as 10: the penalty is -gamma * 10 and its gradient 0."""
    logps = torch.full((1, 1), -50.0, requires_grad=True)
    policy = PolicyOutputs(logps, {"degraded_logps": torch.zeros(1, 1)})
    penalty = Perception(1.0)(policy, rollouts([0.0]), torch.ones(1, 1), torch.ones(1, 1))
    assert penalty.item() == -10
    assert torch.autograd.grad(penalty.sum(), logps)[0].item() == 0


def test_annealing():
    """Four steps: gamma, then (1 + cos(pi / 4)) / 2 of it, half, (1 - cos(pi / 4)) / 2, and nothing from then on."""
    objective = recipes.build("q_hawkeye", gamma=1.0, anneal_steps=4)
    batch = rollouts(REWARDS, predictions=torch.full((4,), 3.0))
    part, state, found = objective.regularise[0], objective.init_state(), []
    for _ in range(6):
        prepared = objective.prepare(batch, state)
        found.append(part.coefficient({"step": prepared.state["regularise.0/step"]}))
        state = objective.update(state, prepared.statistics)
    half = math.cos(math.pi / 4) / 2
    assert found == pytest.approx([1, 0.5 + half, 0.5, 0.5 - half, 0, 0])


def test_without_perception_no_second_pass():
    """gamma = 0 leaves the push out, and with it the degraded picture."""
    assert recipes.build("q_hawkeye", gamma=0.0).needs == {"predictions"}
