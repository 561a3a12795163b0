"""Worked numbers of M2PO: the paper's masking and the released clip."""

from __future__ import annotations

import math

import pytest
import torch

from prefopt import recipes
from prefopt.batch import PolicyOutputs, Prepared, Rollouts
from prefopt.online.gate import SecondMomentClip
from prefopt.online.policy_weight import SecondMomentMask
from tests.contract.online_samples import policy, rollouts

LOG_RATIOS = torch.tensor([[0.5, 0.2, 0.1, -0.15, 0.6]], dtype=torch.float64)
ADVANTAGES = torch.tensor([[1.0, 1, 1, -1, -1]], dtype=torch.float64)


def batch_of(log_ratios: torch.Tensor) -> tuple[Rollouts, PolicyOutputs]:
    rows, tokens = log_ratios.shape
    old = torch.full((rows, tokens), -1.0, dtype=torch.float64)
    mask = torch.ones(rows, tokens, dtype=torch.bool)
    batch = Rollouts(torch.zeros(rows, dtype=torch.int64), mask, torch.zeros(rows, 1), old)
    return batch, PolicyOutputs((old + log_ratios).requires_grad_())


def objective_and_prepared(**settings):
    """One row of five tokens whose advantages are set by hand, each weighing 1/5."""
    objective = recipes.build("m2po", **settings)
    batch, outputs = batch_of(LOG_RATIOS)
    one = torch.ones(1, 5)
    prepared = Prepared(ADVANTAGES, one / 5, one / 5)
    return objective, batch, outputs, objective.refine(batch, prepared, outputs)


def test_masking():
    """H is tokens 1 to 4: squares (.25, .04, .01, .0225), mean 0.0806 > 0.04. Without .25: 0.0725 / 3 = 0.0242.

    Token 5 has moved against its push (A < 0, rho > 1) and stays. Objective: (e^.2 + e^.1 - e^-.15 - e^.6) / 5 =
    (1.2214 + 1.1052 - 0.8607 - 1.8221) / 5 = -0.0713, divided by all five tokens.
    """
    objective, batch, outputs, prepared = objective_and_prepared()
    assert (prepared.weights * 5)[0].tolist() == pytest.approx([0, 1, 1, 1, 1])
    assert objective.loss(batch, prepared, outputs).item() == pytest.approx(0.0713, abs=5e-5)


def test_ranking_all_tokens():
    """AReaL's variant: all squares ascending .01, .0225, .04, .25, .36; means up to .0242, then .0806: drops 1, 5."""
    _, _, _, prepared = objective_and_prepared(harmful_only=False)
    assert (prepared.weights * 5)[0].tolist() == pytest.approx([0, 1, 1, 1, 0])


def test_released_clip():
    """v = (.01, .0225, .04, .25), target 0.16. Capping at .25 reaches it first (k = 3): c = sqrt(.04) = 0.2.

    Clip [e^-.2, e^.2] = [0.8187, 1.2214]: 1.2214 + 1.2214 + 1.1052 - 0.8607 - 1.8221 = 0.8652, loss -0.1730.
    """
    objective, batch, outputs, prepared = objective_and_prepared(released=True)
    assert prepared.carried["gate"].tolist() == [[pytest.approx(0.2)]]
    assert objective.loss(batch, prepared, outputs).item() == pytest.approx(-0.1730, abs=5e-5)


def test_released_clip_is_never_tighter_than_told():
    """c = 0.2 would clip at 1.2214; least_high 0.5 lets e^.5 = 1.6487 through up to 1.5: +1.5 - 1.2214 in the sum."""
    objective, batch, outputs, prepared = objective_and_prepared(released=True, least_low=0.3, least_high=0.5)
    assert objective.loss(batch, prepared, outputs).item() == pytest.approx(-(0.8652 + 1.5 - 1.2214) / 5, abs=5e-5)


def survey(values: list[float], threshold: float = 0.04) -> float:
    log_ratios = torch.tensor([values], dtype=torch.float64)
    batch, outputs = batch_of(log_ratios)
    gate = SecondMomentClip(threshold)
    return gate.survey(log_ratios.exp(), torch.ones_like(log_ratios), outputs, batch).item()


def test_width_of_the_clip():
    """Within the budget nothing is clipped; nothing harmful: nothing; all above it: 0, which clips everything."""
    assert survey([0.1, 0.1]) == math.inf
    assert survey([-0.5, -0.5]) == math.inf
    assert survey([0.5, 0.6]) == 0


def test_all_of_h_can_go():
    """The smallest square alone, 0.25, exceeds 0.04: both tokens of H are left out, the third is outside H."""
    log_ratios = torch.tensor([[0.5, 0.6, -0.9]], dtype=torch.float64)
    batch, outputs = batch_of(log_ratios)
    weights = SecondMomentMask()(log_ratios.exp(), torch.ones(1, 3, dtype=torch.float64), outputs, batch)
    assert weights.tolist() == [[0, 0, 1]]


def test_on_policy_nothing_is_masked():
    """At ratio 1 H is empty: the weights are those of a token mean."""
    objective = recipes.build("m2po")
    batch = rollouts(objective)
    prepared = objective.prepare(batch)
    refined = objective.refine(batch, prepared, policy(objective, batch, drift=0.0))
    torch.testing.assert_close(refined.weights, prepared.weights)


def test_rows_that_take_no_part_do_not_count():
    """A row with the smallest squares but advantage 0 does not dilute the second moment of the others."""
    log_ratios = torch.tensor([[0.01, 0.01], [0.25, 0.3]], dtype=torch.float64)
    batch, outputs = batch_of(log_ratios)
    advantages = torch.tensor([[0.0, 0], [1, 1]], dtype=torch.float64)
    for harmful_only in (True, False):
        weights = SecondMomentMask(0.04, harmful_only)(log_ratios.exp(), advantages, outputs, batch)
        assert weights.tolist() == [[1, 1], [0, 0]]


def test_loss_before_refine_is_refused():
    """The released gate can't act before it has seen the mini-batch."""
    objective, batch, outputs, _ = objective_and_prepared(released=True)
    with pytest.raises(ValueError, match="call `refine` before `loss`"):
        objective.loss(batch, objective.prepare(batch), outputs)


def test_settings_of_the_clip_belong_to_the_clip():
    """The paper's masking has no clip whose width could have a floor."""
    with pytest.raises(ValueError, match="set released=True"):
        recipes.build("m2po", least_high=0.5)
