"""Worked numbers of history-aggregated exploratory policy optimisation."""

from __future__ import annotations

import pytest
import torch

from prefopt import recipes
from prefopt.batch import PolicyOutputs
from prefopt.online.advantage import BatchNormalised
from prefopt.online.whole import SoftmaxReturn
from prefopt.online.whole.softmax_return import group_log_softmax
from tests.online.samples import rollouts

L = torch.tensor([-2.0, -1.0, -3.0], dtype=torch.float64)


def value(returns, **settings):
    batch = rollouts(returns)
    logps = L[:, None].clone().requires_grad_()
    term = SoftmaxReturn(**settings)
    signal = torch.tensor(returns, dtype=torch.float64)
    loss = term(PolicyOutputs(logps), batch, term.carry(signal, signal[:, None], batch))
    return loss.item(), torch.autograd.grad(loss, logps)[0][:, 0]


def test_worked_example():
    """L = (-2, -1, -3): w = softmax = (.2447, .6652, .0900); R = (1, 0, .5): sum w R = .2897.

    d(sum w R) / dL_k = w_k (R_k - .2897) = (.1738, -.1927, .0189). H(w) = -sum w log w = .8324.
    """
    w = group_log_softmax(L, torch.ones(3, 3, dtype=torch.bool)).exp()
    assert w.tolist() == pytest.approx([0.2447, 0.6652, 0.0900], abs=5e-5)
    loss, gradient = value([1.0, 0, 0.5], entropy=0.0, kl=0.0)
    assert loss == pytest.approx(-0.2897, abs=5e-5)
    assert gradient.tolist() == pytest.approx([-0.1738, 0.1927, -0.0189], abs=5e-5)
    assert value([0.0, 0, 0], entropy=1.0, kl=0.0)[0] == pytest.approx(-0.8324, abs=5e-5)


def test_divergence():
    """w_old is uniform (old log-probabilities 0): -log 3 - mean log w = -1.0986 + (1.4076 + .4076 + 2.4076) / 3."""
    assert value([0.0, 0, 0], entropy=0.0, kl=1.0)[0] == pytest.approx(-1.0986 + 1.4076, abs=1e-4)


def test_prompts_do_not_compete():
    """Two prompts of the same three completions: the loss is that of one, as it is a mean over prompts."""
    one, two = rollouts([1.0, 0, 0.5]), rollouts([1.0, 0, 0.5] * 2, [0, 0, 0, 1, 1, 1])
    term = SoftmaxReturn()
    losses = []
    for batch in (one, two):
        logps = L.repeat(len(batch) // 3)[:, None]
        signal = batch.rewards[:, 0].double()
        losses.append(term(PolicyOutputs(logps), batch, term.carry(signal, signal[:, None], batch)).item())
    assert losses[0] == pytest.approx(losses[1])


def test_long_completions_collapse():
    """L apart by 30 nats leaves w at one completion and no gradient; per token (length 3: 10 nats) some remains."""
    batch = rollouts([1.0, 0.0], lengths=[3, 3])
    for per_token, moved in ((False, 1e-12), (True, 4e-5)):
        logps = torch.tensor([[-11.0] * 3, [-1.0] * 3], dtype=torch.float64).requires_grad_()
        objective = recipes.build("haepo", entropy=0.0, kl=0.0, per_token=per_token)
        loss = objective.loss(batch, objective.prepare(batch), PolicyOutputs(logps))
        largest = torch.autograd.grad(loss, logps)[0].abs().max()
        assert largest < moved
        assert (largest > 1e-5) == per_token


def test_returns_are_normalised_over_the_batch():
    """r = (1, 0, 1, 1) in two prompts: mean 3/4, sd 1/2: (1/2, -3/2, 1/2, 1/2)."""
    signal = torch.tensor([1.0, 0, 1, 1])
    found = BatchNormalised()(signal, rollouts(signal.tolist(), [0, 0, 1, 1]))
    assert found.tolist() == pytest.approx([0.5, -1.5, 0.5, 0.5])
