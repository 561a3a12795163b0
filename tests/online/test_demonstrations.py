"""Worked numbers of HPT, the unified gradient estimator, and DYPO."""

from __future__ import annotations

import pytest
import torch

from prefopt import recipes
from prefopt.batch import PolicyOutputs
from prefopt.online.gate import UnifiedEstimator
from prefopt.online.whole import SuccessPairs
from tests.online.samples import rollouts

PI = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)


@pytest.mark.parametrize(
    ("measure", "old", "advantage", "expected"),
    [
        ("policy", 0.3, 1.0, [-0.5, 0.7, -0.2]),
        ("one", 0.3, 1.0, [-0.15, 0.21, -0.06]),
        ("behaviour", 0.24, 0.5, [-0.3125, 0.4375, -0.125]),
    ],
)
def test_unified_gradient(measure, old, advantage, expected):
    """Gradient on the logits for token 1 of pi = (.5, .3, .2): A (pi / pi_ref) (e_1 - pi)."""
    logits = PI.log().requires_grad_()
    logps = logits.log_softmax(-1)[1].view(1, 1)
    ratio = (logps - torch.tensor(old).double().log()).exp()
    surrogate = UnifiedEstimator(measure)(ratio, torch.tensor([[advantage]]).double(), logps)
    assert torch.autograd.grad(surrogate, logits)[0].tolist() == pytest.approx(expected, abs=1e-7)


def test_unified_estimator_is_the_others():
    """Gradients equal those of the log-probability gate, and with PPO's bounds those of its clip, at random points."""
    generator = torch.Generator().manual_seed(0)
    old = torch.randn(4, 5, generator=generator, dtype=torch.float64)
    logps = (old + 0.4 * torch.randn(4, 5, generator=generator, dtype=torch.float64)).requires_grad_()
    advantage = torch.randn(4, 5, generator=generator, dtype=torch.float64)
    for unified, recipe in ((UnifiedEstimator(), "rloo"), (UnifiedEstimator("behaviour", 0.2, 0.2), "grpo")):
        found, wanted = (
            torch.autograd.grad(gate((logps - old).exp(), advantage, logps).sum(), logps)[0]
            for gate in (unified, recipes.build(recipe).gate)
        )
        torch.testing.assert_close(found, wanted)


def group(successes, of=8):
    """``of`` own completions, the first ``successes`` correct, and a demonstration of three tokens."""
    expert = torch.tensor([False] * of + [True])
    rewards = [1.0] * successes + [0.0] * (of - successes) + [1.0]
    return rollouts(rewards, lengths=[2] * of + [3], from_expert=expert, ref_logps=torch.zeros(of + 1, 3))


def test_switch_to_rollouts():
    """3 of 8 at gate 2: A = .625 and -.375, 1/4 a token for T_max = 4; the demonstration does not count."""
    prepared = recipes.build("hpt", most_successes=2, max_length=4).prepare(group(3))
    assert prepared.advantages[:8, 0].tolist() == pytest.approx([0.625] * 3 + [-0.375] * 5)
    assert (prepared.weights[:8, :2] == 0.25).all()
    assert (prepared.weights[8] == 0).all()


def test_switch_to_the_demonstration():
    """2 of 8 at gate 2: the loss is the mean of -log pi over the demonstration's tokens."""
    batch = group(2)
    objective = recipes.build("hpt", most_successes=2, entropy=0.0)
    prepared = objective.prepare(batch)
    assert (prepared.weights[:8] == 0).all()
    logps = torch.full((9, 3), -0.5).requires_grad_()
    loss = objective.loss(batch, prepared, PolicyOutputs(logps))
    assert loss.item() == pytest.approx(0.5)
    assert torch.autograd.grad(loss, logps)[0][8].tolist() == pytest.approx([-1 / 3] * 3)


def test_pairs():
    """D_s = (.3, -.1), D_f = .2: -log sigmoid(.1) = .6444, -log sigmoid(-.3) = .8544, mean .7494."""
    batch = rollouts([1.0, 1.0, 0.0], ref_logps=torch.zeros(3, 1))
    term = SuccessPairs(weight=1.0)
    carried = term.carry(batch.rewards[:, 0], torch.zeros(3, 1), batch)
    found = term(PolicyOutputs(torch.tensor([[0.3], [-0.1], [0.2]])), batch, carried).item()
    assert found == pytest.approx(0.7494, abs=5e-5)
    assert 0.5 * -0.05 + 0.5 * found == pytest.approx(0.3497, abs=5e-5)


def test_mixed_prompt():
    """alpha / 2: the surrogate at ratio 1 is mean A = 0, so that the loss is half of the pairs' .7494."""
    batch = rollouts([1.0, 1.0, 0.0], ref_logps=torch.zeros(3, 1), from_expert=torch.tensor([False] * 3))
    objective = recipes.build("dypo", ratio_to="behaviour")
    logps = torch.tensor([[0.3], [-0.1], [0.2]])
    own = rollouts([1.0, 1.0, 0.0], logps=logps, **batch.extras)
    assert objective.loss(own, objective.prepare(own), PolicyOutputs(logps)).item() == pytest.approx(0.3747, abs=5e-5)


def test_own_share():
    """GRPO's weights, times alpha: 1 / (3 completions) * .5."""
    batch = rollouts([1.0, 1.0, 0.0], ref_logps=torch.zeros(3, 1), from_expert=torch.tensor([False] * 3))
    assert recipes.build("dypo").prepare(batch).weights[:, 0].tolist() == pytest.approx([1 / 6] * 3)


def test_unsolved_solved_and_mixed_prompts():
    """All wrong: the demonstration alone; all correct: nothing; mixed: own completions. Two prompts count."""
    expert = torch.tensor([False, False, True] * 3)
    rewards = [0.0, 0, 1, 1, 1, 1, 1, 0, 1]
    batch = rollouts(rewards, [0] * 3 + [1] * 3 + [2] * 3, from_expert=expert, ref_logps=torch.zeros(9, 1))
    weights = recipes.build("dypo").prepare(batch).weights[:, 0].tolist()
    assert weights == pytest.approx([0, 0, 1 / 2, 0, 0, 0, 1 / 8, 1 / 8, 0])


def test_pairs_per_token():
    """Two tokens a row: D is halved; (.6 / 2) - (.2 / 2) = .2: -log sigmoid = .5981."""
    batch = rollouts([1.0, 0.0], lengths=[2, 2], ref_logps=torch.zeros(2, 2))
    term = SuccessPairs(weight=1.0, per_token=True)
    carried = term.carry(batch.rewards[:, 0], torch.zeros(2, 2), batch)
    found = term(PolicyOutputs(torch.tensor([[0.3, 0.3], [0.1, 0.1]])), batch, carried).item()
    assert found == pytest.approx(0.5981, abs=5e-5)


def test_switches_agree():
    """DYPO keeps the rows that HPT keeps at gate 0, less those of solved prompts."""
    expert = torch.tensor([False, False, True] * 3)
    rewards = [0.0, 0, 1, 1, 1, 1, 1, 0, 1]
    batch = rollouts(rewards, [0] * 3 + [1] * 3 + [2] * 3, from_expert=expert, ref_logps=torch.zeros(9, 1))
    ours, theirs = (recipes.build(name).prepare(batch).weights[:, 0] > 0 for name in ("dypo", "hpt"))
    assert theirs.tolist() == [False, False, True, True, True, False, True, True, False]
    assert ours.tolist() == [False, False, True, False, False, False, True, True, False]
