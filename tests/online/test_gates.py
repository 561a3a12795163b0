"""Worked numbers of ratios and gates: the gradient that one token passes, dLoss/dlog pi."""

from __future__ import annotations

import math

import pytest
import torch

from prefopt.batch import PolicyOutputs, Prepared, Rollouts
from prefopt.online.gate import CISPO, SAPO, Clip
from prefopt.online.gate.clip import beyond, clipped
from prefopt.online.objective import OnlineObjective
from prefopt.online.ratio import SequenceRatio
from prefopt.online.regularise import KL


def loss_and_gradient(objective: OnlineObjective, log_ratios: list[float], advantage: float, weights=None):
    """Loss and its gradient for one row with these log-ratios; the weights default to a mean over tokens."""
    tokens = len(log_ratios)
    old = torch.full((1, tokens), -1.0, dtype=torch.float64)
    logps = (old + torch.tensor([log_ratios], dtype=torch.float64)).requires_grad_()
    batch = Rollouts(torch.zeros(1, dtype=torch.int64), torch.ones(1, tokens, dtype=torch.bool), torch.zeros(1, 1), old)
    weights = torch.full((1, tokens), 1 / tokens) if weights is None else weights
    prepared = Prepared(torch.full((1, tokens), advantage), weights, weights)
    loss = objective.loss(batch, prepared, PolicyOutputs(logps))
    return loss.item(), torch.autograd.grad(loss, logps)[0][0].tolist()


@pytest.mark.parametrize(
    ("ratio", "advantage", "clip", "cispo", "sapo"),
    [
        (0.5, 1, -0.5, -0.5, -0.4700),
        (0.5, -1, 0, 0.5, 0.4671),
        (1.5, 1, 0, -1.5, -1.4100),
        (1.5, -1, 1.5, 1.5, 1.4012),
        (6.0, -1, 6.0, 5.0, 0.1246),
    ],
)
def test_gradient_of_one_token(ratio, advantage, clip, cispo, sapo):
    """-A times the multiplier: clip rho or 0; CISPO min(rho, 5); SAPO 4 p (1 - p) rho, p = sigmoid(tau (rho - 1)).

    SAPO at rho = 1.5, A = -1, tau = 1.05: p = sigmoid(0.525) = 0.62832, 4 p (1 - p) = 0.93414, times 1.5 = 1.4012.
    """
    for gate, expected in ((Clip(), clip), (CISPO(), cispo), (SAPO(), sapo)):
        _, (found,) = loss_and_gradient(OnlineObjective(gate=gate), [math.log(ratio)], advantage)
        assert found == pytest.approx(expected, abs=5e-5), gate


def test_sapo_value_at_ratio_one():
    """(4 / tau) * sigmoid(0) = 2 / tau: loss -2 for A = 1, and 2 / 1.05 = 1.9048 for A = -1; the multiplier is 1."""
    loss, gradient = loss_and_gradient(OnlineObjective(gate=SAPO()), [0.0], 1.0)
    assert (loss, gradient[0]) == pytest.approx((-2.0, -1.0))
    loss, gradient = loss_and_gradient(OnlineObjective(gate=SAPO()), [0.0], -1.0)
    assert (loss, gradient[0]) == pytest.approx((1.9048, 1.0), abs=5e-5)


def test_sapo_sequence():
    """d = (.1, -.05, .3), A = 1: mean loss -2.1342; multipliers over rho (0.9972, 0.9994, 0.9700)."""
    log_ratios = [0.1, -0.05, 0.3]
    loss, gradient = loss_and_gradient(OnlineObjective(gate=SAPO()), log_ratios, 1.0)
    assert loss == pytest.approx(-2.1342, abs=5e-5)
    relative = [-3 * g / math.exp(d) for g, d in zip(gradient, log_ratios, strict=True)]
    assert relative == pytest.approx([0.9972, 0.9994, 0.9700], abs=5e-5)


@pytest.mark.parametrize(("ratio", "plain", "hotter"), [(0.5, 0.9400, 0.9341), (3.0, 0.4200, 0.3888)])
def test_sapo_decays_to_both_sides(ratio, plain, hotter):
    """4 p (1 - p) at tau 1 and 1.05; p = sigmoid(2) = 0.8808 at rho = 3 gives 4 * 0.8808 * 0.1192 = 0.4200."""
    for tau, expected in ((1.0, plain), (1.05, hotter)):
        gate = SAPO(tau_positive=tau, tau_negative=tau)
        _, (found,) = loss_and_gradient(OnlineObjective(gate=gate), [math.log(ratio)], 1.0)
        assert -found / ratio == pytest.approx(expected, abs=5e-5)


def test_gspo_sequence():
    """d = (.1, -.05, .3): s = exp(0.35 / 3) = 1.1237; each token gets s / T.

    A wide clip passes it: loss -1.1237, gradient -1.1237 / 3 a token. The narrow default band closes: gradient 0.
    """
    wide = OnlineObjective(ratio=SequenceRatio(), gate=Clip(0.2, 0.2))
    loss, gradient = loss_and_gradient(wide, [0.1, -0.05, 0.3], 1.0)
    assert loss == pytest.approx(-1.1237, abs=5e-5)
    assert gradient == pytest.approx([-1.1237 / 3] * 3, abs=5e-5)
    narrow = OnlineObjective(ratio=SequenceRatio(), gate=Clip(3e-4, 4e-4))
    assert loss_and_gradient(narrow, [0.1, -0.05, 0.3], 1.0) == (pytest.approx(-1.0004), [0, 0, 0])


def test_clip_fraction_counts_the_tokens_without_gradient():
    """Ratios 0.5, 1, 1.5 with A = 1: only 1.5 > 1.2 is closed, 1 of 3. With A = -1 only 0.5 < 0.8 is."""
    ratio = torch.tensor([[0.5, 1.0, 1.5]])
    assert Clip().closed(ratio, torch.ones(1, 3)).tolist() == [[False, False, True]]
    assert Clip().closed(ratio, -torch.ones(1, 3)).tolist() == [[True, False, False]]


def test_kl_penalty():
    """log pi = -1, log ref = -1.5: d = -0.5, exp(d) - d - 1 = 0.60653 + 0.5 - 1 = 0.10653; times beta 0.04.

    dPenalty/dlog pi = beta * (1 - exp(d)) = 0.04 * 0.39347.
    """
    batch = Rollouts(
        torch.zeros(1, dtype=torch.int64),
        torch.ones(1, 1, dtype=torch.bool),
        torch.zeros(1, 1),
        torch.full((1, 1), -1.0),
        {"ref_logps": torch.full((1, 1), -1.5)},
    )
    logps = torch.full((1, 1), -1.0, requires_grad=True)
    one = torch.ones(1, 1)
    objective = OnlineObjective(regularise=(KL(0.04),))
    loss = objective.loss(batch, Prepared(0 * one, one, one), PolicyOutputs(logps))
    assert loss.item() == pytest.approx(0.04 * 0.10653, abs=1e-6)
    assert torch.autograd.grad(loss, logps)[0].item() == pytest.approx(0.04 * 0.39347, abs=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Clip(low=1.5), "0 <= low <= 1"),
        (lambda: CISPO(cap=0), "must be positive"),
        (lambda: SAPO(tau_negative=0), "must be positive"),
    ],
)
def test_impossible_settings_are_refused(make, message):
    """A ratio is never below 0; a cap or temperature of 0 would leave no gradient."""
    with pytest.raises(ValueError, match=message):
        make()


def test_bounds_of_a_clip_may_differ_from_token_to_token():
    """Ratios 1.5, A = 2: cut at 1.2 gives 2.4, at 2 it is 3 and open. A = -2 and ratio .5: cut at .8 gives -1.6."""
    ratio, advantages = torch.tensor([[1.5, 1.5, 0.5]]), torch.tensor([[2.0, 2.0, -2.0]])
    least, most = torch.tensor([[0.8, 0.8, 0.8]]), torch.tensor([[1.2, 2.0, 1.2]])
    assert clipped(ratio, advantages, least, most)[0].tolist() == pytest.approx([2.4, 3.0, -1.6])
    assert beyond(ratio, advantages, least, most).tolist() == [[True, False, True]]
    assert clipped(ratio, advantages, 0.8, 1.2)[0].tolist() == pytest.approx([2.4, 2.4, -1.6])
