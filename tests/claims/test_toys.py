"""The tabular policies that experiments train: single steps that can be computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from prefopt import recipes
from scripts.claims.toys import (
    Chain,
    Decisions,
    Featured,
    Scored,
    Softmax,
    Streams,
    learn,
    learn_from_pairs,
    unit_steps,
)


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


def test_a_lag_draws_from_the_policy_of_so_many_steps_before():
    """Steps 0, 1 and 2 of lag 2 all draw from the start, P = .3; step 3 from the policy after the first step."""
    seen, probabilities = [], []

    def watch(rollouts, prepared, outputs):
        seen.append(rollouts.logps.exp().unique().tolist())

    def record(policy):
        probabilities.append(policy.probabilities.item())
        return policy.probabilities

    settings = {"steps": 4, "group": 8, "learning_rate": 1.0, "lag": 2, "watch": watch, "record": record}
    learn(recipes.build("grpo"), Decisions.of([0.3]), first_decision, [0], **settings)
    assert seen[0] == seen[1] == seen[2] == pytest.approx([0.3, 0.7])
    assert probabilities[1] != 0.3
    assert seen[3] == pytest.approx(sorted([probabilities[1], 1 - probabilities[1]]))


def test_a_sampler_draws_in_place_of_the_policy():
    """The engine says yes with P = .9, the policy with .3: most draws are a yes, each with both probabilities."""
    seen = []
    learn(
        recipes.build("tis"), Decisions.of([0.3]), first_decision, [0], steps=1, group=200, learning_rate=0.1,
        sampler=lambda policy: Decisions.of([0.9]), watch=lambda rollouts, prepared, outputs: seen.append(rollouts),
    )  # fmt: skip
    yes = seen[0].rewards[:, 0] == 1
    assert 0.8 < yes.double().mean() < 1
    assert seen[0].logps.exp()[yes].unique().tolist() == pytest.approx([0.3])
    assert seen[0].extras["sampler_logps"].exp()[yes].unique().tolist() == pytest.approx([0.9])


def test_demonstrations_are_rows_of_their_group():
    """P(yes) = e^-20: no completion succeeds, so the switch shows the demonstration: d(-log p)/dlogit = p - 1 = -1."""
    policy = Decisions(torch.tensor([[-20.0]], dtype=torch.float64).requires_grad_())
    demonstrations = torch.ones(1, 1, 1, dtype=torch.long)
    objective = recipes.build("hpt", entropy=0.0)
    learn(
        objective, policy, first_decision, [0], steps=1, group=4, learning_rate=2.0, demonstrations=demonstrations
    )  # fmt: skip
    assert policy.logits.item() == pytest.approx(-18)


def test_featured_policy_shares_weights_between_prompts():
    """Weights log 2 on token 0 of feature 0: prompts (1, 0), (0, 1) and (2, 0) give it 2/3, 1/2 and 4/5."""
    weights = torch.zeros(1, 2, 1, 2, dtype=torch.float64)
    weights[0, 0, 0, 0] = np.log(2)
    features = torch.tensor([[1.0, 0], [0, 1], [2, 0]], dtype=torch.float64)
    policy = Featured(weights.requires_grad_(), features)
    assert policy.probabilities[:, 0, 0].tolist() == pytest.approx([2 / 3, 1 / 2, 4 / 5])
    actions = torch.zeros(3, 1, 1, dtype=torch.long)
    policy.logps(actions)[0].sum().backward()
    assert weights.grad[0, :, 0, 0].tolist() == pytest.approx([1 / 3, 0])


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


def test_chain_reads_the_token_before():
    """One prompt, two places, V = 2. After token 0 (and at the start) P(1) = 3/4, after token 1 it is 1/2.

    .5 gives 1 at the start (cumulative .25), then .4 gives 0 and .6 gives 1. log P = log 3/4 + log 1/2; the entropy
    of the second place is log 2 after a 1.
    """
    logits = torch.tensor([[0.0, np.log(3)], [0.0, 0.0]], dtype=torch.float64).expand(1, 2, 2, 2)
    policy = Chain(logits.clone().requires_grad_())
    actions = policy.sample(torch.tensor([[[0.5, 0.4], [0.5, 0.6], [0.1, 0.2]]], dtype=torch.float64))
    assert actions[0].tolist() == [[1, 0], [1, 1], [0, 0]]
    assert policy.logps(actions).exp().prod(-1)[0].tolist() == pytest.approx([3 / 8, 3 / 8, 1 / 16])
    assert policy.entropies(actions)[0, :2, 1].tolist() == pytest.approx([np.log(2)] * 2)


def test_unit_steps_have_one_length_for_each_seed():
    """Two seeds whose gradients differ tenfold move by 0.5 each; a gradient of 0 moves nothing."""
    table = torch.zeros(3, 2, requires_grad=True)
    table.grad = torch.tensor([[3.0, 4.0], [30.0, 40.0], [0.0, 0.0]])
    unit_steps(3)([table], lr=0.5).step()
    assert table.detach().flatten().tolist() == pytest.approx([-0.3, -0.4, -0.3, -0.4, 0, 0])
