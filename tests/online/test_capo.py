"""Worked numbers of CAPO's predictions, its mask and its moments."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from prefopt import recipes
from prefopt.batch import PolicyOutputs, Rollouts
from prefopt.online.policy_weight import CurvatureMask
from prefopt.online.policy_weight.head_moments import HeadMoments

PI = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
H = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
NO_MOMENTS = CurvatureMask().init_state()


def predict(advantage: float, learning_rate: float, moments: HeadMoments) -> list[float]:
    scores = torch.stack([PI, torch.tensor([1.0, 0, 0]) - PI])[None]
    advantages = torch.tensor([advantage], dtype=torch.float64)
    part = CurvatureMask(learning_rate)
    return [x.item() for x in part.predictions(scores, advantages, H, torch.tensor([[0, 1, 2]]), moments)]


@pytest.mark.parametrize(("advantage", "change"), [(1.0, 0.1899), (-1.0, 0.1902)])
def test_predictions_of_gradient_ascent(advantage, change):
    """pi = (.5, .3, .2), a = 0, h = (1, 2), eta .1: v = (.5, -.3, -.2), |h|^2 = 5, u = A (2.5, -1.5, -1).

    A = 1: <g, G> = v.u = 1.9, (v.u)^2 = 3.61, u^T (diag pi - pi pi^T) u = 4.0 - .36 = 3.64, q = -0.03:
    change = .19 - .00015 = 0.1899 and divergence = .005 * 3.61 = 0.0181. A = -1: q = +0.03, change 0.1902.
    """
    found = predict(advantage, 0.1, HeadMoments.of(NO_MOMENTS, 0.9, 0.999))
    assert found == pytest.approx([change, 0.0181], abs=6e-5)
    q = (found[0] - 0.19) / 0.005
    assert q == pytest.approx(-0.03 * advantage, abs=1e-9)


def test_predictions_of_adam():
    """Zero moments in Adam's formula at step 0: m / (1 - b1) = g, v / (1 - b2) = g^2, so that G = sign(g) = +-1.

    u = (3, -3, -3), <g, G> = v.u = 3, spread 9 - (1.5 - .9 - .6)^2 = 9, so q = 0: change = .01 * 3 = 0.0300 and
    divergence = 1e-4 / 2 * 9 = 0.00045. By itself the part takes the gradient while no row has been seen, so that the
    formula is called here.
    """
    moments = HeadMoments.of(NO_MOMENTS, 0.9, 0.999)
    gradient = torch.outer(torch.tensor([0.5, -0.3, -0.2], dtype=torch.float64), H[0])
    step = moments._adam(torch.zeros_like(gradient), torch.zeros_like(gradient), gradient)
    assert step.flatten().tolist() == pytest.approx([1, 1, -1, -1, -1, -1])
    seen = dataclasses.replace(moments, step=torch.tensor(1))
    # Unseen rows at step 1: m = .1 g / (1 - .81), v = .001 g^2 / (1 - .999^2): ratio (.1 / .19) / sqrt(.001 / .001999).
    scale = (0.1 / 0.19) / math.sqrt(0.001 / (1 - 0.999**2))
    assert seen.step_of(torch.tensor([0, 1, 2]), gradient)[0].tolist() == pytest.approx([scale, scale])
    part_change = 0.01 * 3 * scale
    assert predict(1.0, 0.01, seen)[0] == pytest.approx(part_change, abs=1e-6)


def test_hessian():
    """q is the second derivative of A pi_theta(a) / pi_old(a) along G, by autograd over the 3 x 2 head."""
    head = torch.tensor([[0.1, 0.3], [-0.2, 0.15], [0.4, -0.3]], dtype=torch.float64, requires_grad=True)
    probabilities = (head @ H[0]).softmax(0).detach()
    v = torch.tensor([1.0, 0, 0]) - probabilities
    advantages = torch.tensor([-0.7], dtype=torch.float64)
    part = CurvatureMask(learning_rate=1.0)
    change, divergence = part.predictions(
        torch.stack([probabilities, v])[None],
        advantages,
        H,
        torch.tensor([[0, 1, 2]]),
        HeadMoments.of(NO_MOMENTS, 0.9, 0.999),
    )
    step = -0.7 * torch.outer(v, H[0])

    def surrogate(t: torch.Tensor) -> torch.Tensor:
        return -0.7 * ((head.detach() + t * step) @ H[0]).softmax(0)[0] / probabilities[0]

    at = torch.zeros((), dtype=torch.float64)
    first = torch.func.grad(surrogate)(at)
    second = torch.func.grad(torch.func.grad(surrogate))(at)
    assert change.item() == pytest.approx((first + second / 2).item(), rel=1e-9)
    assert divergence.item() == pytest.approx((v @ step @ H[0]).item() ** 2 / 2, rel=1e-9)


def rows(hidden: list[list[float]], advantages: list[float], token: int = 0):
    """One completion; every token has pi = (.5, .3, .2) over ids 4, 7, 9, and was ``(4, 7, 9)[token]``."""
    tokens = len(hidden)
    mask = torch.ones(1, tokens, dtype=torch.bool)
    ids = torch.tensor([4, 7, 9]).expand(1, tokens, 3)
    batch = Rollouts(
        torch.zeros(1, dtype=torch.int64), mask, torch.zeros(1, 1), torch.zeros(1, tokens, dtype=torch.float64),
        {"token_ids": ids[:, :, token]},
    )  # fmt: skip
    extras = {
        "hidden": torch.tensor([hidden], dtype=torch.float64),
        "top_logits": PI.log().expand(1, tokens, 3),
        "top_ids": ids,
    }
    logps = torch.zeros(1, tokens, dtype=torch.float64)
    return torch.ones(1, tokens), torch.tensor([advantages], dtype=torch.float64), PolicyOutputs(logps, extras), batch


def test_mask_and_denominator():
    """Tokens h = (1, 2), (.1, .2), (0, 0), A = 1: change .1899, about .0019, 0; two of three pass: 3/2 each."""
    part = CurvatureMask(learning_rate=0.1, largest_divergence=0.01, largest_change=0.01)
    found = part(*rows([[1, 2], [0.1, 0.2], [0, 0]], [1.0] * 3), state=part.init_state())
    assert found.tolist() == [[0, 1.5, 1.5]]
    lenient = CurvatureMask(learning_rate=0.1, largest_divergence=0.01, largest_change=1.0)
    assert lenient(*rows([[1, 2], [0.1, 0.2]], [1.0] * 2), state=NO_MOMENTS).tolist() == [[0, 2]]  # .0181 > .01
    nothing = CurvatureMask(learning_rate=0.1, largest_divergence=1e-9)
    assert nothing(*rows([[1, 2]], [1.0]), state=NO_MOMENTS).tolist() == [[0]]


def test_one_sided_threshold():
    """``symmetric=False`` asks for change >= 0. A huge step makes q dominate: eta 1, A = 1, h = (1, 2), q = -0.03 never
    outweighs <g, G> = 1.9, so a token that was not among the k (v = -pi) is taken: u = -5 pi, v.u = 1.9, spread =
    25 (.125 + .027 + .008 - .38^2) = 0.39, q = 3.22; A = -1: u = 5 pi, <g, G> = 1.9, q = -3.22, at eta 2 the change is
    3.8 - 6.44 = -2.64.
    """
    inputs = rows([[1, 2]], [-1.0])
    elsewhere = dataclasses.replace(inputs[3], extras={"token_ids": torch.tensor([[11]])})
    loose = {"learning_rate": 2.0, "largest_divergence": 100.0, "largest_change": 3.0, "adam": False}
    assert CurvatureMask(**loose)(*inputs[:3], elsewhere, state=NO_MOMENTS).tolist() == [[1]]
    assert CurvatureMask(**loose, symmetric=False)(*inputs[:3], elsewhere, state=NO_MOMENTS).tolist() == [[0]]


def test_moments_learn_from_tokens_that_stay():
    """Two tokens, h = (1, 2) and (3, 0), A = 1 and -1: the first stays alone where its prediction is small enough.

    All stay: row of id 4: mean of .5 (1, 2) and -.5 (3, 0) = (-.5, .5). Moments: m = .1 g, v = .001 g^2, step 1.
    """
    part = CurvatureMask(learning_rate=1e-3, largest_divergence=1.0, largest_change=1.0)
    inputs = rows([[1, 2], [3, 0]], [1.0, -1.0])
    statistics = part.statistics(*inputs, state=part.init_state())
    assert statistics["ids"].tolist() == [4, 7, 9]
    assert statistics["gradient"][0].tolist() == pytest.approx([-0.5, 0.5])
    state = part.update(part.init_state(), statistics)
    assert state["first"][0].tolist() == pytest.approx([-0.05, 0.05])
    assert state["second"][0].tolist() == pytest.approx([0.00025, 0.00025])
    assert state["step"] == 1
    only_small = CurvatureMask(learning_rate=1e-3, largest_divergence=1.0, largest_change=0.0025)  # <g, G> = 1.9, 3.42
    one = only_small.statistics(*inputs, state=part.init_state())
    assert one["gradient"][0].tolist() == pytest.approx([0.5, 1.0])


def test_moments_grow_by_rows_and_keep_the_others():
    """Rows 4 and 7, then 5 and 7: row 4 keeps what it had, 7 decays and adds, 5 starts at 0; no row: no step."""
    moments = HeadMoments.of(NO_MOMENTS, 0.9, 0.999)
    one = torch.ones(2, 1)
    moments = moments.updated(torch.tensor([4, 7]), one)
    moments = moments.updated(torch.tensor([5, 7]), 2 * one)
    assert moments.ids.tolist() == [4, 5, 7]
    assert moments.first[:, 0].tolist() == pytest.approx([0.1, 0.2, 0.09 + 0.2])
    assert moments.second[:, 0].tolist() == pytest.approx([0.001, 0.004, 0.000999 + 0.004])
    assert moments.step == 2
    assert moments.updated(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 1)) is moments


def test_rows_equal_a_whole_matrix():
    """Row by row equals G formed as a (k, H) matrix per token, with Adam's moments of a full (V, H) head."""
    torch.manual_seed(0)
    tokens, k, width, vocabulary = 6, 4, 5, 12
    ids = torch.stack([torch.randperm(vocabulary)[:k] for _ in range(tokens)])
    hidden, advantages = torch.randn(tokens, width).double(), torch.randn(tokens).double()
    probability = torch.randn(tokens, k).double().softmax(-1)
    v = torch.nn.functional.one_hot(torch.randint(0, k, (tokens,)), k) - probability
    full = {"first": torch.randn(vocabulary, width) * 0.1, "second": torch.rand(vocabulary, width) * 0.1}
    seen = torch.tensor([0, 2, 3, 5, 8, 11])
    moments = HeadMoments(seen, full["first"][seen], full["second"][seen], torch.tensor(3))
    unseen = torch.tensor([i for i in range(vocabulary) if i not in seen.tolist()])
    for table in full.values():
        table[unseen] = 0
    part = CurvatureMask(learning_rate=0.3)
    change, divergence = part.predictions(torch.stack([probability, v], 1), advantages, hidden, ids, moments)
    for n in range(tokens):
        g = advantages[n] * torch.outer(v[n], hidden[n])
        first = 0.9 * full["first"][ids[n]] + 0.1 * g
        second = 0.999 * full["second"][ids[n]] + 0.001 * g**2
        step = first / (1 - 0.9**4) / ((second / (1 - 0.999**4)).sqrt() + 1e-8)
        u = step @ hidden[n]
        covariance = torch.diag(probability[n]) - torch.outer(probability[n], probability[n])
        q = advantages[n] * ((v[n] @ u) ** 2 - u @ covariance @ u)
        assert change[n].item() == pytest.approx((0.3 * (g * step).sum() + 0.045 * q).item(), rel=1e-6)
        assert divergence[n].item() == pytest.approx((0.045 * (v[n] @ u) ** 2).item(), rel=1e-6)


def test_recipe():
    """Thresholds that nothing passes leave a zero loss with a gradient; the state advances through the objective."""
    objective = recipes.build("capo", learning_rate=0.1, largest_divergence=1e-12)
    _, _, outputs, batch = rows([[1, 2], [3, 0]], [1.0, 1.0])
    batch = dataclasses.replace(batch, rewards=torch.tensor([[1.0]]))
    two = [torch.cat([x, x]) for x in (batch.group, batch.mask, batch.rewards, batch.logps)]
    two[2] = torch.tensor([[0.0], [1.0]])
    batch = Rollouts(*two, {"token_ids": batch.extras["token_ids"].repeat(2, 1)})
    logps = torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)
    outputs = PolicyOutputs(logps, {k: torch.cat([x, x]) for k, x in outputs.extras.items()})
    prepared = objective.refine(batch, objective.prepare(batch), outputs)
    loss = objective.loss(batch, prepared, outputs)
    assert loss == 0
    assert torch.autograd.grad(loss, logps)[0].tolist() == [[0, 0], [0, 0]]
    open_objective = recipes.build("capo", learning_rate=1e-6)
    prepared = open_objective.refine(batch, open_objective.prepare(batch), outputs)
    state = open_objective.update(open_objective.init_state(), prepared.statistics)
    assert state["policy_weight.0/ids"].tolist() == [4, 7, 9]
    assert state["policy_weight.0/step"] == 1
