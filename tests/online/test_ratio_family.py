"""Worked numbers of the ratio family: what one token passes through each gate, and a completion of three."""

from __future__ import annotations

import math

import pytest
import torch

from prefopt import recipes
from prefopt.batch import PolicyOutputs, Prepared, Rollouts
from prefopt.online.gate import VESPO, DualClip, GeometricMean
from prefopt.online.objective import OnlineObjective
from prefopt.online.policy_weight import OffPolicyMask
from prefopt.online.ratio import ProductRatio
from tests.online.test_gates import loss_and_gradient

POINTS = [(0.5, 1), (0.5, -1), (1.5, 1), (1.5, -1), (6.0, -1)]
MULTIPLIERS = {
    "grpo": (-0.5, 0, 0, 1.5, 6.0),
    "clip_higher": (-0.5, 0, 0, 1.5, 6.0),
    "dr_grpo": (-0.5, 0, 0, 1.5, 6.0),
    "dual_clip": (-0.5, 0, 0, 1.5, 0),
    "intellect2": (-0.5, 0, 0, 1.5, 0),
    "cispo": (-0.5, 0.5, -1.5, 1.5, 5.0),
    "sapo": (-0.4700, 0.4671, -1.4100, 1.4012, 0.1246),
    "gmpo": (-0.5, 0, 0, 1.5, 6.0),
    "vespo": (-1.1204, 0.3398, -0.5020, 1.2416, 0.0098),
    "luspo": (-0.5, 0, 0, 1.5, 6.0),
    "gspo": (-0.5, 0, 0, 1.5, 6.0),
    "m2po": (-0.5, 0.5, -1.5, 1.5, 6.0),
}


@pytest.mark.parametrize("name", MULTIPLIERS)
def test_gradient_of_one_token(name):
    """dLoss/dlog pi of a completion of one token, whose weight is 1, at five ratios and advantages.

    Clips: -A rho where open. VESPO at rho = 0.5, A = 1: phi = e^3 * 0.5^2 * e^(-1.5) = 1.1204; at rho = 6, A = -1:
    e^2 * 6^3 * e^-12 = 0.0098. A sequence ratio of one token is the token's, so that GSPO and LUSPO clip alike. M2PO's
    weights are fixed before the loss, which by itself passes -A rho everywhere.
    """
    built = recipes.build(name)
    objective = OnlineObjective(ratio=built.ratio, gate=built.gate)
    found = [loss_and_gradient(objective, [math.log(ratio)], advantage)[1][0] for ratio, advantage in POINTS]
    assert found == pytest.approx(MULTIPLIERS[name], abs=5e-5)


D = [0.1, -0.05, 0.3]


@pytest.mark.parametrize(("clamp", "coefficient"), [(0.4, 1.1237), (0.2, 1.0869)])
def test_gmpo_sequence(clamp, coefficient):
    """d = (.1, -.05, .3), A = 1: exp(0.35 / 3) = 1.1237; clamped at 0.2 exp((.1 - .05 + .2) / 3) = 1.0869.

    Each open token gets a third of it; the clamped one gets nothing.
    """
    loss, gradient = loss_and_gradient(OnlineObjective(gate=GeometricMean(clamp, clamp)), D, 1.0)
    assert loss == pytest.approx(-coefficient, abs=5e-5)
    last = 0.0 if clamp < 0.3 else -coefficient / 3
    assert gradient == pytest.approx([-coefficient / 3, -coefficient / 3, last], abs=5e-5)


def test_gmpo_without_clamp_is_gspo_without_clip():
    """exp(mean d) either way, for any lengths, advantages of both signs and a mask."""
    torch.manual_seed(0)
    mask = torch.arange(4) < torch.tensor([4, 2, 1])[:, None]
    old = -torch.rand(3, 4, dtype=torch.float64)
    batch = Rollouts(torch.zeros(3, dtype=torch.int64), mask, torch.tensor([[0.0], [1], [2]]), old)
    logps = (old + 0.2 * torch.randn(3, 4, dtype=torch.float64)).requires_grad_()
    found = []
    for objective in (
        recipes.build("gmpo", clip_low=9.0, clip_high=9.0),
        recipes.build("gspo", clip_low=1, clip_high=9),
    ):
        loss = objective.loss(batch, objective.prepare(batch), PolicyOutputs(logps))
        found.append((loss, torch.autograd.grad(loss, logps)[0]))
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize(("advantage", "phi"), [(1.0, 0.5728), (-1.0, 1.2360)])
def test_vespo_sequence(advantage, phi):
    """w = exp(.35) = 1.4191; phi = e^3 w^2 e^(-3 w) = 0.5728 for A >= 0, e^2 w^3 e^(-2 w) = 1.2360 for A < 0."""
    _, gradient = loss_and_gradient(OnlineObjective(ratio=ProductRatio(), gate=VESPO()), D, advantage)
    assert gradient == pytest.approx([-advantage * phi / 3] * 3, abs=5e-5)


def test_vespo_never_closes_within_reason():
    """Log-ratios of +-3 nats: a positive, finite weight; at w = 1 it is 1."""
    ratio = torch.tensor([[0.05, 1.0, 20.0]])
    for advantage in (1.0, -1.0):
        weight = VESPO()(ratio, torch.full((1, 3), advantage), torch.ones(1, 3)) * advantage
        assert weight[0, 1].item() == pytest.approx(1.0)
        assert (weight > 0).all()


def test_luspo_sequence():
    """GSPO's loss times the length: clip .2, -3 * 1.1237 = -3.3712; each token gets the whole s = 1.1237."""
    objective = recipes.build("luspo", clip_low=0.2, clip_high=0.2)
    weights = objective.aggregate(torch.ones(1, 3, dtype=torch.bool))
    loss, gradient = loss_and_gradient(objective, D, 1.0, weights)
    assert loss == pytest.approx(-3.3712, abs=5e-5)
    assert gradient == pytest.approx([-1.1237] * 3, abs=5e-5)


@pytest.mark.parametrize("advantage", [-1.5, -1.0, 0.0, 0.7])
def test_dual_and_two_sided_clip_are_one(advantage):
    """min(min(rho, delta) A, clip(rho) A) = DualClip with bound delta, at ratios across both bounds, for any sign."""
    ratio = torch.tensor([[0.1, 0.79, 0.81, 1.0, 1.19, 1.21, 3.9, 4.1, 50.0]], dtype=torch.float64)
    advantages = torch.full_like(ratio, advantage)
    two_sided = torch.minimum(ratio.clamp(max=4.0) * advantages, ratio.clamp(0.8, 1.2) * advantages)
    torch.testing.assert_close(DualClip(bound=4.0)(ratio, advantages, ratio), two_sided)


def test_an_outlier():
    """rho = 50, A = -1: PPO passes 50; dual clip 0, CISPO 5, SAPO below 1e-3, VESPO below 1e-3."""
    found = {}
    for name in ("grpo", "dual_clip", "intellect2", "cispo", "sapo", "vespo"):
        built = recipes.build(name)
        objective = OnlineObjective(ratio=built.ratio, gate=built.gate)
        found[name] = loss_and_gradient(objective, [math.log(50)], -1.0)[1][0]
    assert found["grpo"] == pytest.approx(50)
    assert found["dual_clip"] == found["intellect2"] == 0
    assert found["cispo"] == pytest.approx(5)
    assert max(abs(found["sapo"]), abs(found["vespo"])) < 1e-3


def test_off_policy_mask():
    """Drift a token of rows 1 to 3: mean of (.8, .4) = 0.6 > 0.5. A = -1 leaves it out; A = 1 and 0 keep it.

    Row 4: (.8, NaN) counts as (.8, 0), mean 0.4, and stays.
    """
    current = torch.full((4, 2), -1.0)
    sampler = current + torch.tensor([[0.8, 0.4], [0.8, 0.4], [0.8, 0.4], [0.8, math.nan]])
    batch = Rollouts(
        torch.zeros(4, dtype=torch.int64),
        torch.ones(4, 2, dtype=torch.bool),
        torch.zeros(4, 1),
        current,
        {"sampler_logps": sampler},
    )
    advantages = torch.tensor([-1.0, 1, 0, -1])[:, None].expand(4, 2)
    weights = OffPolicyMask(0.5)(torch.ones(4, 2), advantages, PolicyOutputs(current), batch)
    assert weights.tolist() == [[0, 0], [1, 1], [1, 1], [1, 1]]


def test_closed_tokens_are_those_without_gradient():
    """For every gate that stops tokens: `closed` says so exactly where autograd gives 0, unless A = 0."""
    ratio = torch.tensor([[0.1, 0.5, 0.9, 1.1, 1.5, 3.5, 6.0]], dtype=torch.float64)
    for name in ("grpo", "dual_clip", "gmpo"):
        gate = recipes.build(name).gate
        for advantage in (1.0, -1.0):
            for column in range(7):
                one = ratio[:, column : column + 1].clone().requires_grad_()
                advantages = torch.full_like(one, advantage)
                inputs = {"mask": torch.ones(1, 1, dtype=torch.bool)} if gate.whole_rows else {}
                passed = torch.autograd.grad(gate(one, advantages, one, **inputs).sum(), one)[0].item()
                assert gate.closed(one, advantages, **inputs).item() == (passed == 0), (name, advantage, column)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DualClip(bound=1.1), "must exceed 1 [+] high = 1.2"),
        (lambda: DualClip(low=2.0), "0 <= low <= 1"),
        (lambda: GeometricMean(low=-1.0), "not negative"),
        (lambda: VESPO(k_negative=0.0), "must be positive"),
    ],
)
def test_impossible_settings_are_refused(make, message):
    """The bound has to lie beyond the clip, a ratio above 0, a width and a shape on the right side of 0."""
    with pytest.raises(ValueError, match=message):
        make()


def test_prepared_weights_of_clip_higher():
    """Lengths 1 and 3: a mean over four tokens, and a clip at 1.28."""
    objective = recipes.build("clip_higher")
    mask = torch.arange(3) < torch.tensor([1, 3])[:, None]
    batch = Rollouts(torch.zeros(2, dtype=torch.int64), mask, torch.tensor([[0.0], [1]]), torch.zeros(2, 3))
    prepared = objective.prepare(batch)
    assert isinstance(prepared, Prepared)
    assert prepared.weights[mask].tolist() == [0.25] * 4
    assert objective.gate.high == 0.28
