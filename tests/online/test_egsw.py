"""Worked numbers of entropy-guided weights."""

from __future__ import annotations

import math

import pytest
import torch

from prefopt import recipes
from prefopt.online.token_weight.entropy_softmax import EntropySoftmax
from tests.online.samples import rollouts

ADVANTAGES = torch.tensor([[1.0], [-1.0], [0.5]])
ENTROPIES = torch.tensor([[0.2], [1.0], [0.6]])


def test_softmax():
    """(A + 0.3 H) = (1.06, -0.7, 0.68): exp (2.8864, 0.4966, 1.9739), in shares (0.5388, 0.0927, 0.3685)."""
    batch = rollouts([0.0] * 3, entropies=ENTROPIES)
    for level in ("step", "trajectory"):
        found = EntropySoftmax(level=level)(ADVANTAGES, batch)[:, 0] / 3
        assert found.tolist() == pytest.approx([0.5388, 0.0927, 0.3685], abs=5e-5)


def test_absent_positions_are_left_out():
    """Two rows of lengths 1 and 2: at the second position the longer one stands alone, with weight 1.

    At the first, A = 0 and alpha = 1: exp(0) and exp(log 3): of two, 0.5 and 1.5.
    """
    entropies = torch.tensor([[0.0, math.nan], [math.log(3), 0.7]])
    batch = rollouts([0.0, 0.0], lengths=[1, 2], entropies=entropies)
    found = EntropySoftmax(alpha=1.0)(torch.zeros(2, 2), batch)
    torch.testing.assert_close(found, torch.tensor([[0.5, 0], [1.5, 1]], dtype=torch.float64))


def test_trajectory_takes_means():
    """Mean entropies 0 and (log 3 + log 3) / 2, A = 0: 0.5 and 1.5 on every token."""
    entropies = torch.tensor([[0.0, math.nan], [math.log(9), 0.0]])
    batch = rollouts([0.0, 0.0], lengths=[1, 2], entropies=entropies)
    found = EntropySoftmax(alpha=1.0, level="trajectory")(torch.zeros(2, 2), batch)
    assert found[0, 0].item() == pytest.approx(0.5)
    assert found[1].tolist() == pytest.approx([1.5, 1.5])


def test_infinite_temperature_is_grpo():
    """softmax(x / 1e12) = 1/3 for each of the group's three rows, whatever x: the even weights of GRPO."""
    batch = rollouts([1.0, 0, 0], lengths=[1, 3, 2], entropies=torch.rand(3, 3))
    found = recipes.build("egsw", temperature=1e12).prepare(batch)
    plain = recipes.build("grpo").prepare(batch)
    torch.testing.assert_close(found.weights, plain.weights)
    assert torch.equal(found.advantages, plain.advantages)


def test_unscored_rows_are_not_in_the_softmax():
    """Rewards (1, 0, NaN): A = +-0.7071, entropies 0: weights 2 sigmoid(+-1.4142) of two rows."""
    batch = rollouts([1.0, 0.0, math.nan], entropies=torch.zeros(3, 1))
    found = recipes.build("egsw").prepare(batch).weights[:, 0]
    share = 1 / (1 + math.exp(-math.sqrt(2)))
    assert found.tolist() == pytest.approx([share, 1 - share, 0], abs=1e-4)
