"""Worked numbers of in-token rationality optimisation."""

from __future__ import annotations

import pytest
import torch

from prefopt import recipes
from prefopt.batch import PolicyOutputs
from prefopt.online.policy_weight.answer_conditioned import rationality
from tests.online.samples import rollouts

PI = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
INFORMED = torch.tensor([0.2, 0.6, 0.2], dtype=torch.float64)


def loss(tokens, logits, reward=1.0, **settings):
    """Loss of one rationale of one token, ``tokens[0]``, beside the other candidates."""
    logps, informed = logits.log_softmax(-1), INFORMED.log()
    others = torch.tensor(tokens[1:])
    extras = {"answer_logps": informed[tokens[0]].view(1, 1)}
    if len(tokens) > 1:
        extras |= {
            "candidate_logps": logps[others].view(1, 1, -1),
            "candidate_answer_logps": informed[others].view(1, 1, -1),
        }
    objective = recipes.build("intro", candidates=len(tokens), **settings)
    batch = rollouts([reward], logps=logps[tokens[0]].detach().view(1, 1))
    return objective.loss(batch, objective.prepare(batch), PolicyOutputs(logps[tokens[0]].view(1, 1), extras))


def test_weights():
    """(.2, .6, .2) over (.5, .3, .2) = (.4, 2, 1); capped at 200."""
    assert rationality(INFORMED.log(), PI.log(), 200.0).tolist() == pytest.approx([0.4, 2, 1])
    assert rationality(torch.tensor(0.0), torch.tensor(-9.0), 200.0).item() == 200


def test_worked_example():
    """Tokens (0, 0, 1, 2, 1): (2 * .4 log .5 + 2 * 2 log .3 + log .2) / 5 = -1.3960.

    Gradient on the logits: the mean of w (e_z - pi) = (-.42, .452, -.032).
    """
    logits = PI.log().requires_grad_()
    found = -loss([0, 0, 1, 2, 1], logits)
    assert found.item() == pytest.approx(-1.3960, abs=5e-5)
    assert torch.autograd.grad(found, logits)[0].tolist() == pytest.approx([-0.42, 0.452, -0.032], abs=1e-6)


def test_expected_gradient():
    """E over pi of w (e_z - pi) = informed - pi = (-.3, .3, 0), as E[w] = 1."""
    logits = PI.log().requires_grad_()
    each = [torch.autograd.grad(-loss([z], logits), logits)[0] for z in range(3)]
    expected = sum(p * gradient for p, gradient in zip(PI, each, strict=True))
    assert expected.tolist() == pytest.approx([-0.3, 0.3, 0], abs=1e-7)


def test_wrong_rationales_are_left_out():
    """A reward of 0 leaves the completion out: no gradient at all."""
    logits = PI.log().requires_grad_()
    assert (torch.autograd.grad(loss([0, 1], logits, reward=0.0), logits)[0] == 0).all()


def test_one_candidate_needs_no_others():
    """The token that was taken is the one candidate: nothing is drawn beside it."""
    assert recipes.build("intro", candidates=1).needs == {"policy.answer_logps"}
    with pytest.raises(ValueError, match="at least 1, not 0"):
        recipes.build("intro", candidates=0)
