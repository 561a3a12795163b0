"""The tabular policies that experiments train: single steps that can be computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from prefopt import recipes
from scripts.claims.toys import Decisions, Scored, Softmax, Streams, learn, learn_from_pairs


def first_decision(actions: torch.Tensor) -> Scored:
    """1 for a yes at the first place."""
    return Scored(actions[..., 0].double())


def test_one_step_of_leave_one_out():
    """p = 1/2, two completions that differ: A = +-1, gradient of the logit (1 * (1 - 1/2) - 1 * (0 - 1/2)) / 2 = 1/2.

    With step size 2 the logit moves from 0 to 1. The objective sums over tokens; the second place earns nothing but
    shares the advantage, so it moves by +-1 or not at all.
    """
    seed = next(s for s in range(50) if (Streams([s]).uniform(1, 2, 2)[0, 0, :, 0] < 0.5).sum() == 1)
    policy = Decisions.of([0.5, 0.5])
    history = learn(recipes.build("rloo"), policy, first_decision, [seed], steps=1, group=2, learning_rate=2.0)
    assert policy.logits[0, 0].item() == pytest.approx(1.0)
    assert abs(policy.logits[0, 1].item()) == pytest.approx(1.0) or policy.logits[0, 1].item() == 0
    assert history.shape == (1, 2, 2)
    assert history[0, 1, 0] == pytest.approx(1 / (1 + np.exp(-1)))


@pytest.mark.parametrize("name", ["grpo", "gspo", "rloo"])
def test_seeds_side_by_side_are_seeds_alone(name):
    """The other seeds of a table change nothing, as groups are judged alone and the loss is scaled by the seeds."""
    settings = {"steps": 5, "group": 4, "learning_rate": 0.5}
    both = learn(recipes.build(name), Decisions.of([0.4, 0.3], 2), first_decision, [3, 8], **settings)
    alone = [learn(recipes.build(name), Decisions.of([0.4, 0.3]), first_decision, [s], **settings)[0] for s in (3, 8)]
    np.testing.assert_allclose(both, alone, rtol=1e-6)


def test_softmax_samples_by_its_probabilities():
    """Logits log(.2, .3, .5): cumulative .2, .5, 1, so .1 gives 0, .2 and .4 give 1, .5 and .9 give 2."""
    policy = Softmax.of(np.log([0.2, 0.3, 0.5]))
    uniform = torch.tensor([0.1, 0.2, 0.4, 0.5, 0.9], dtype=torch.float64).reshape(1, 5, 1) + 1e-9
    actions = policy.sample(uniform)
    assert actions.flatten().tolist() == [0, 1, 1, 2, 2]
    assert policy.logps(actions).exp().flatten().tolist() == pytest.approx([0.2, 0.3, 0.3, 0.5, 0.5])


def test_entropies():
    """Uniform over 4: log 4. Fair coin: log 2."""
    actions = torch.zeros(1, 2, 1, dtype=torch.long)
    assert Softmax.of(np.zeros(4)).entropies(actions).flatten().tolist() == pytest.approx([np.log(4)] * 2)
    assert Decisions.of([0.5]).entropies(actions).flatten().tolist() == pytest.approx([np.log(2)] * 2)


def test_a_recipe_with_a_reference_gets_the_start():
    """KL to the start: the first gradient is that without it (d = 0 has slope 0), later ones are pulled back."""
    settings = {"steps": 30, "group": 8, "learning_rate": 0.5}
    free = learn(recipes.build("grpo"), Decisions.of([0.3]), first_decision, [0], **settings)
    held = learn(recipes.build("grpo", beta=5.0), Decisions.of([0.3]), first_decision, [0], **settings)
    assert free[0, 1] == pytest.approx(held[0, 1])
    assert held[0, -1] < free[0, -1]


def test_one_step_of_dpo():
    """Logits 0, one pair: d(-log sigmoid(beta h))/dh = -beta / 2, dh/dlogits = (1, -1): beta .1, step size 1: +-.05."""
    policy = Softmax.of(np.zeros(2))
    learn_from_pairs(
        recipes.build("sigmoid", beta=0.1), policy, torch.tensor([[0]]), torch.tensor([[1]]), steps=1, learning_rate=1.0
    )
    assert policy.logits.flatten().tolist() == pytest.approx([0.05, -0.05])


def test_contexts_must_divide_among_seeds():
    with pytest.raises(ValueError, match="3 contexts do not divide among 2 seeds"):
        learn(recipes.build("grpo"), Decisions.of([0.5], 3), first_decision, [0, 1], steps=1, group=2, learning_rate=1)
