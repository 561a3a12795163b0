"""Identities between estimators, on a softmax bandit whose groups are enumerated."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor

from prefopt import recipes
from prefopt.batch import PolicyOutputs, Rollouts

LOGITS = torch.tensor([1.0, 0.0, -0.5], dtype=torch.float64)
SIZE = 3


def moments(name: str, rewards: list[float], **settings: object) -> tuple[Tensor, float]:
    """Exact mean, and total variance, of the gradient of -loss on the logits over all groups of three drawn arms."""
    objective = recipes.build(name, **settings)
    probabilities = LOGITS.softmax(0)
    mean, square = torch.zeros(3, dtype=torch.float64), 0.0
    for arms in product(range(3), repeat=SIZE):
        drawn = torch.tensor(arms)
        logits = LOGITS.clone().requires_grad_()
        logps = logits.log_softmax(0)[drawn][:, None]
        group, mask = torch.zeros(SIZE), torch.ones(SIZE, 1, dtype=torch.bool)
        batch = Rollouts(group, mask, torch.tensor(rewards)[drawn][:, None], logps.detach())
        loss = objective.loss(batch, objective.prepare(batch), PolicyOutputs(logps))
        gradient = torch.autograd.grad(-loss, logits)[0]
        chance = float(probabilities[drawn].prod())
        mean, square = mean + chance * gradient, square + chance * float(gradient @ gradient)
    return mean, square - float(mean @ mean)


def test_baselines_lower_the_variance_and_keep_the_mean():
    """RLOO has REINFORCE's mean gradient, p_a (r_a - E r), and less variance; Dr. GRPO's is (G - 1) / G of it."""
    rewards = [1.0, 0.5, 1.5]
    plain, noisy = moments("reinforce", rewards)
    p, r = LOGITS.softmax(0), torch.tensor(rewards, dtype=torch.float64)
    torch.testing.assert_close(plain, p * (r - p @ r))
    unbiased, calm = moments("rloo", rewards)
    torch.testing.assert_close(unbiased, plain)
    assert calm < 0.5 * noisy
    shrunk, _ = moments("dr_grpo", rewards)
    torch.testing.assert_close(shrunk, (SIZE - 1) / SIZE * plain, atol=1e-7, rtol=1e-6)


def test_constant_advantage_has_no_mean_gradient():
    """An all-wrong group gives NGRPO the same advantage in every row: on-policy its gradient is noise around 0."""
    mean, variance = moments("ngrpo", [0.0, 0.0, 0.0])
    assert mean.abs().max() < 1e-7
    assert variance > 0.01


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("s_grpo", {"noise": 0.0, "eps": 1e-4}), ("grpo", {})),
        (("bnpo", {"aggregate": "dr_grpo"}), ("dr_grpo", {})),
        (("canon", {"metric": "length"}), ("dr_grpo", {})),
        (("reinforce_pp", {"adjust": ()}), ("reinforce", {})),
    ],
)
def test_identical_gradients(one, other):
    """S-GRPO without noise is GRPO; BNPO with one group, and CANON with one length, are Dr. GRPO.

    REINFORCE++ without whitening is REINFORCE, at ratio 1.
    """
    rewards = [1.0, 0.0, 1.0]
    for found, wanted in zip(moments(one[0], rewards, **one[1]), moments(other[0], rewards, **other[1]), strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-6)
