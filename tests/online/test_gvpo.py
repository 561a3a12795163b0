"""Worked numbers of group variance policy optimisation."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from prefopt import recipes
from prefopt.batch import PolicyOutputs
from prefopt.online.whole import WholeGroupObjective
from tests.online.samples import rollouts

DRIFT = torch.tensor([0.2, -0.1, 0.3, 0.0], dtype=torch.float64)


def loss_and_gradient(batch, drift, **settings):
    objective = recipes.build("gvpo", **settings)
    logps = (batch.logps.double() + drift[:, None]).requires_grad_()
    loss = objective.loss(batch, objective.prepare(batch), PolicyOutputs(logps))
    return loss.item(), torch.autograd.grad(loss, logps)[0]


def test_worked_example():
    """r = (1, 0, 0, 1), log-ratios (.2, -.1, .3, 0), beta = .1: R = (.02, -.01, .03, 0), mean .01.

    Residuals (R - mean R) - (r - 1/2) = (-.49, .48, .52, -.51); the loss is half the sum of their squares over 3:
    (.2401 + .2304 + .2704 + .2601) / 6 = .16683. Gradients: .1 / 3 times the residuals.
    """
    loss, gradient = loss_and_gradient(rollouts([1.0, 0, 0, 1]), DRIFT)
    assert loss == pytest.approx(0.16683, abs=1e-5)
    assert gradient[:, 0].tolist() == pytest.approx([-0.016333, 0.016, 0.017333, -0.017], abs=1e-6)
    assert gradient.sum().item() == pytest.approx(0, abs=1e-9)


def test_two_prompts():
    """The paper averages over prompts, the released code sums: twice the loss for two."""
    batch = rollouts([1.0, 0, 0, 1] * 2, [0] * 4 + [1] * 4)
    drift = DRIFT.repeat(2)
    mean, _ = loss_and_gradient(batch, drift)
    assert mean == pytest.approx(0.16683, abs=1e-5)
    assert loss_and_gradient(batch, drift, average_prompts=False)[0] == pytest.approx(2 * mean)


def test_gradient_is_that_of_reinforce():
    """beta G / (G - 1) times REINFORCE with the detached, centred reward r - beta * log-ratio.

    The recipe ``dr_grpo`` without ratio and clip, summed over tokens and divided by G, has gradient
    -(1 / G) (r_i' - mean r'); G = 4: the factor is .1 * 4 / 3.
    """
    batch = rollouts([1.0, 0, 0, 1], lengths=[2, 1, 3, 2])
    generator = torch.Generator().manual_seed(0)
    logps = torch.randn(4, 3, generator=generator, dtype=torch.float64).requires_grad_()
    objective = recipes.build("gvpo")
    loss = objective.loss(batch, objective.prepare(batch), PolicyOutputs(logps))
    found = torch.autograd.grad(loss, logps)[0]
    implied = 0.1 * torch.where(batch.mask, logps.detach(), 0.0).sum(-1)
    shifted = dataclasses.replace(batch, rewards=(batch.rewards - implied[:, None]).double())
    reinforce = recipes.build("dr_grpo", gate="rloo", aggregate="rloo")
    other = reinforce.loss(shifted, reinforce.prepare(shifted), PolicyOutputs(logps))
    wanted = torch.autograd.grad(other, logps)[0]
    torch.testing.assert_close(found, 0.1 * 4 / 3 * wanted, rtol=1e-5, atol=1e-7)


def test_anchor():
    """Against the reference the log-ratio is to its log-probabilities: all equal to the policy's leaves R = 0.

    Then the residuals are the centred rewards, (1/4 * 4) / 6 = 1/6.
    """
    batch = rollouts([1.0, 0, 0, 1], ref_logps=DRIFT[:, None])
    assert recipes.build("gvpo", anchor="reference").needs == {"ref_logps"}
    assert loss_and_gradient(batch, DRIFT, anchor="reference")[0] == pytest.approx(1 / 6)
    with pytest.raises(ValueError, match="anchor must be one of behaviour, reference, not 'old'"):
        recipes.build("gvpo", anchor="old")


@pytest.mark.parametrize("sampler", ["uniform", "on-policy"])
def test_optimum_from_any_sampler(sampler):
    """Six arms, beta = 1/2, fixed uniform anchor: the policy converges to softmax(r / beta), KL below 1e-6."""
    generator = torch.Generator().manual_seed(1)
    rewards = torch.linspace(0, 1, 6, dtype=torch.float64)
    logits = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    anchor = torch.full((6,), -torch.log(torch.tensor(6.0)).item(), dtype=torch.float64)
    objective = recipes.build("gvpo", beta=0.5, anchor="reference")
    optimiser = torch.optim.Adam([logits], 0.05)
    for _ in range(600):
        logp = logits.log_softmax(-1)
        drawn = torch.ones(6) if sampler == "uniform" else logp.detach().exp().float()
        arms = torch.multinomial(drawn, 32, replacement=True, generator=generator)
        batch = rollouts(rewards[arms].tolist(), ref_logps=anchor[arms, None])
        batch = dataclasses.replace(batch, rewards=rewards[arms, None])
        loss = objective.loss(batch, objective.prepare(batch), PolicyOutputs(logp[arms, None]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    optimum = (rewards / 0.5).log_softmax(-1)
    final = logits.detach().log_softmax(-1)
    assert (final.exp() * (final - optimum)).sum() < 1e-6


def test_a_term_needs_judgement_within_the_group():
    """REINFORCE's raw reward judges each completion alone, and the term compares those of a group."""
    with pytest.raises(TypeError, match="RawReward judges each alone"):
        recipes.build("gvpo", advantage="reinforce")
    assert isinstance(recipes.build("gvpo"), WholeGroupObjective)
