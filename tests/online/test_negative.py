"""Worked numbers of learning from one sign: GRPO-N, PSR, NSR, W-REINFORCE."""

from __future__ import annotations

import pytest
import torch

from prefopt import recipes
from prefopt.batch import PolicyOutputs
from prefopt.online.advantage import Verdict
from prefopt.online.sampling import ByOutcome
from prefopt.online.token_weight import OneSign
from tests.online.samples import rollouts

OUTCOMES = [1.0, 0, 0, 1]


@pytest.mark.parametrize(
    ("name", "advantages", "weights"),
    [
        ("psr", (1, 0, 0, 1), (1 / 3, 0, 0, 1 / 3)),
        ("nsr", (0, -1, -1, 0), (0, 1 / 5, 1 / 5, 0)),
        ("w_reinforce", (0.1, -1, -1, 0.1), (1 / 8,) * 4),
    ],
)
def test_verdicts(name, advantages, weights):
    """(1, 0, 0, 1): PSR (1, -, -, 1), NSR (-, -1, -1, -), W-REINFORCE (.1, -1, -1, .1).

    Lengths (1, 2, 3, 2): PSR counts 1 + 2 = 3 tokens, NSR 2 + 3 = 5, W-REINFORCE all 8: dropped rows are not counted.
    """
    prepared = recipes.build(name).prepare(rollouts(OUTCOMES, lengths=[1, 2, 3, 2]))
    assert prepared.advantages[:, 0].tolist() == pytest.approx(advantages)
    assert prepared.weights[:, 0].tolist() == pytest.approx(weights)


def test_grpo_n():
    """(0, 0, 0, 1), unbiased: A = (-.5 x3, 1.5), here with its sign: the fourth row weighs nothing, the rest 1/4."""
    prepared = recipes.build("relative_negative").prepare(rollouts([0.0, 0, 0, 1]))
    torch.testing.assert_close(prepared.advantages[:, 0], torch.tensor([-0.5, -0.5, -0.5, 1.5]), atol=5e-4, rtol=0)
    assert prepared.weights[:, 0].tolist() == [0.25, 0.25, 0.25, 0]


def logit_change(signs: str) -> list[float]:
    """Mean over samples of A (onehot - pi), for samples (0, 0, 0, 1) with A = (.5 x3, -1.5), pi = (.7, .2, .1)."""
    pi = torch.tensor([0.7, 0.2, 0.1])
    samples, advantages = torch.tensor([0, 0, 0, 1]), torch.tensor([0.5, 0.5, 0.5, -1.5])
    weights = OneSign("negative")(advantages[:, None], rollouts([0.0] * 4))[:, 0] if signs == "negative" else 1
    return ((weights * advantages)[:, None] * (torch.eye(3)[samples] - pi)).mean(0).tolist()


def test_logits_of_one_group():
    """Full: (.375, -.375, 0). Negatives only: -1.5 / 4 (onehot(1) - pi) = (.2625, -.3, .0375).

    The unsampled best answer gains only where the positives are left out.
    """
    assert logit_change("both") == pytest.approx([0.375, -0.375, 0], abs=1e-6)
    assert logit_change("negative") == pytest.approx([0.2625, -0.3, 0.0375], abs=1e-6)


def test_logits_in_expectation():
    """pi = (.7, .2, .1), r = (.8, 0, 1), rbar = .66: E dz = pi (r - rbar) = (.0980, -.1320, .0340).

    With A < 0 only, A = r - rbar is negative for the second alone: pi_1 A_1 (onehot(1) - pi) = -.132 (onehot(1) - pi)
    = (.0924, -.1056, .0132).
    """
    pi, advantages = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.8, 0, 1]) - 0.66
    change = (pi * advantages)[:, None] * (torch.eye(3) - pi)
    assert change.sum(0).tolist() == pytest.approx([0.0980, -0.1320, 0.0340], abs=1e-6)
    weights = OneSign("negative")(advantages[:, None], rollouts([0.0] * 3))
    assert (weights * change).sum(0).tolist() == pytest.approx([0.0924, -0.1056, 0.0132], abs=1e-6)


def test_psr_and_nsr_have_one_expected_gradient():
    """sum_y pi(y) 1[r = 1] grad log pi(y) = -sum_y pi(y) 1[r = 0] grad log pi(y), as the two sum to grad 1 = 0."""
    logits = torch.tensor([0.3, -0.2, 0.9, 0.1], dtype=torch.float64, requires_grad=True)
    log_pi = logits.log_softmax(0)
    signal = torch.tensor([1.0, 0, 0, 1])
    batch = rollouts(signal.tolist())
    gradients = []
    for keep in ("correct", "wrong"):
        kept = ByOutcome(keep)(signal, batch)
        surrogate = (log_pi.exp().detach() * Verdict()(signal, batch) * kept * log_pi).sum()
        gradients.append(torch.autograd.grad(surrogate, logits, retain_graph=True)[0])
    torch.testing.assert_close(*gradients)


def test_grpo_n_of_one_binary_reward_is_nsr_up_to_scale():
    """Group (0, 0, 1, 1) of one token each: A = -.5/.5774 on the wrong ones, over 4 rows, against -1 over 2 rows."""
    batch = rollouts([0.0, 0, 1, 1])
    gradients = []
    for name, settings in (("relative_negative", {}), ("nsr", {"entropy": 0.0})):
        objective = recipes.build(name, **settings)
        logps = torch.zeros(4, 1, requires_grad=True)
        loss = objective.loss(batch, objective.prepare(batch), PolicyOutputs(logps))
        gradients.append(torch.autograd.grad(loss, logps)[0])
    torch.testing.assert_close(gradients[0], gradients[1] * 0.5 / (3**-0.5 + 1e-4) * 2 / 4)


def test_gspo_n():
    """The same weights on GSPO's ratio and clip."""
    objective = recipes.build("gspo", token_weight="relative_negative")
    assert objective.ratio.sequence_level
    assert objective.prepare(rollouts([0.0, 0, 0, 1])).weights[:, 0].tolist() == [0.25, 0.25, 0.25, 0]
    assert recipes.build("relative_negative", ratio="gspo", gate="gspo").gate == objective.gate


def test_settings():
    """Words are checked; a row without a score has no verdict and is not kept."""
    with pytest.raises(ValueError, match="sign must be one of negative, positive"):
        OneSign("both")
    with pytest.raises(ValueError, match="keep must be one of correct, wrong"):
        ByOutcome("all")
    assert torch.isnan(Verdict()(torch.tensor([torch.nan]), rollouts([0.0]))).all()
    assert ByOutcome("wrong")(torch.tensor([torch.nan]), rollouts([0.0])).tolist() == [False]
