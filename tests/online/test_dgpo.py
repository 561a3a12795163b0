"""Worked numbers of difficulty-aware group policy optimisation."""

from __future__ import annotations

import math

import pytest
import torch

from prefopt import recipes
from prefopt.batch import PolicyOutputs
from prefopt.online.adjust import Difficulty
from tests.online.samples import advantages, rollouts


@pytest.mark.parametrize(
    ("rewards", "expected"),
    [
        ([1.0, 0, 0, 0], [1.9999] + [-0.6666] * 3),
        ([1.0, 1, 1, 0], [0.6666] * 3 + [-1.9999]),
        ([1.0, 1, 0, 0], [0.99995] * 2 + [-0.99995] * 2),
    ],
)
def test_mean_absolute_deviation(rewards, expected):
    """(1, 0, 0, 0): sum of |r - 1/4| = 0.75 + 3 * 0.25 = 1.5; 4 * 0.75 / (1.5 + 1e-4) = 1.9999, 4 * -0.25 / 1.5001.

    (1, 1, 0, 0): sum 2; 4 * 0.5 / 2.0001 = 0.99995. A single group has difficulty weight 1.
    """
    assert advantages("dgpo", rollouts(rewards))[:, 0].tolist() == pytest.approx(expected, abs=5e-5)


def test_size_of_the_update_does_not_depend_on_the_pass_rate():
    """sum |A| of four rows: 4 at p = 1/4 and 1/2; GRPO 2.9994 and 3.4635 (sd 0.5 and 0.57735, eps 1e-4)."""
    for rewards, of_grpo in (([1.0, 0, 0, 0], 2.9994), ([1.0, 1, 0, 0], 3.4635)):
        batch = rollouts(rewards)
        assert advantages("dgpo", batch).abs().sum().item() == pytest.approx(4, abs=5e-4)
        assert advantages("grpo", batch).abs().sum().item() == pytest.approx(of_grpo, abs=5e-4)


def test_binary_rewards():
    """A correct row gets 1 / (2 p), a wrong one -1 / (2 (1 - p)): the z-score (ddof 0) over 2 sqrt(p (1 - p))."""
    for correct in range(1, 8):
        batch, p = rollouts([1.0] * correct + [0.0] * (8 - correct)), correct / 8
        found = advantages("dgpo", batch, eps=0.0)
        assert found[0].item() == pytest.approx(1 / (2 * p))
        assert found[-1].item() == pytest.approx(-1 / (2 * (1 - p)))
        z_score = advantages("grpo", batch, ddof=0, eps=0.0)
        torch.testing.assert_close(found, z_score / (2 * math.sqrt(p * (1 - p))))


def weights(accuracies: list[float], totals: list[float] | None = None, temperature: float = 2.0) -> list[float]:
    """Difficulty weights of groups of four with the given accuracies, or with the given rewards of another source."""
    columns = [1.0 if i < 4 * accuracy else 0.0 for accuracy in accuracies for i in range(4)]
    batch = rollouts([(column, 0.0) for column in columns], [g for g in range(len(accuracies)) for _ in range(4)])
    signal = batch.rewards[:, 0] if totals is None else torch.tensor(totals)
    ones = torch.ones(len(batch), 1)
    return Difficulty(temperature)(ones, signal, batch)[::4, 0].tolist()


def test_difficulty():
    """Accuracies 1/4, 3/4, 1/2: exp(-0.125, -0.375, -0.25) = (0.8825, 0.6873, 0.7788), of their mean 0.78287.

    The quotients are 1.1273, 0.8779, 0.9948.
    """
    assert weights([0.25, 0.75, 0.5]) == pytest.approx([1.1273, 0.8779, 0.9948], abs=5e-5)


def test_uniform_groups_do_not_count():
    """A solved group beside those of 1/4 and 3/4: exp(-0.125), exp(-0.375) over their mean: 1.12436, 0.87565."""
    assert weights([0.25, 1.0, 0.75]) == pytest.approx([2 / (1 + math.exp(-0.25)), 1, 2 / (1 + math.exp(0.25))])


def test_groups_without_a_correct_answer_weigh_least():
    """Accuracy 0 with rewards that differ by another source counts as accuracy 1: exp(-0.5) against exp(-0.25)."""
    found = weights([0.0, 0.5], [0.1, 0.2, 0.3, 0.4, 1, 1, 0, 0])
    assert found == pytest.approx([2 / (1 + math.exp(0.25)), 2 / (1 + math.exp(-0.25))])


def test_valid_tokens():
    """Groups (1, 0) of 2 tokens a row and (1, 1) of 6: the mean is over the 4 tokens of the first.

    As the code has it: each advantage times 16 / 4 in a mean over all 16 tokens.
    """
    batch = rollouts([1.0, 0, 1, 1], [0, 0, 1, 1], lengths=[2, 2, 6, 6])
    objective = recipes.build("dgpo")
    prepared = objective.prepare(batch)
    assert prepared.weights[0, :2].tolist() == [0.25, 0.25]
    logps = torch.zeros(4, 6, requires_grad=True)
    loss = objective.loss(batch, prepared, PolicyOutputs(logps))
    gradient = torch.autograd.grad(loss, logps)[0]
    assert gradient[0, 0].item() == pytest.approx(-1 / (1 + 1e-4) * (16 / 4) / 16)


def test_no_such_source():
    """One column of rewards: the source of number 1 does not exist."""
    with pytest.raises(ValueError, match="the rewards have 1 sources, numbered from 0"):
        advantages("dgpo", rollouts([1.0, 0.0]), accuracy_source=1)
