"""Worked numbers of entropy modulation."""

from __future__ import annotations

import math

import pytest
import torch

from prefopt import recipes
from prefopt.online.adjust import EntropyModulation
from prefopt.online.min_max import min_max
from tests.online.samples import rollouts

ENTROPIES = torch.tensor([[0.2, 0.8], [0.5, 0.2]])
TURNS = torch.tensor([[0, 1], [0, 1]])
ADVANTAGES = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])
SIGNAL = torch.zeros(2)


def test_modulation():
    """Steps H = (0.2, 0.8), A = 1 and (0.5, 0.2), A = -1: scaled (0, 1, 0.5, 0), exp(-H) = (1, .3679, .6065, 1).

    Their mean is 0.7436: g = (1.3448, 0.4947, 0.8157, 1.3448). Bonus 0.1 * .3679 and 0.1 * 1 for the first steps:
    (1.3816, 0.4947, -0.7157, -1.3448), mean -0.0460: (1.4276, 0.5408, -0.6696, -1.2988).
    """
    batch = rollouts([0.0, 0.0], lengths=[2, 2], entropies=ENTROPIES, turn_ids=TURNS)
    found = EntropyModulation()(ADVANTAGES, SIGNAL, batch)
    expected = torch.tensor([[1.4276, 0.5408], [-0.6696, -1.2988]], dtype=torch.float64)
    torch.testing.assert_close(found, expected, atol=5e-5, rtol=0)


def test_steps_of_several_tokens():
    """The same steps with two tokens of entropies 0.7 and 0.9 in the second, numbered 3 and 7, and padding behind.

    Steps count once, however long they are; all tokens of a step get its value.
    """
    entropies = torch.tensor([[0.2, 0.7, 0.9], [0.5, 0.2, math.nan]])
    numbers = torch.tensor([[3, 7, 7], [0, 4, -5]])
    batch = rollouts([0.0, 0.0], lengths=[3, 2], entropies=entropies, step_ids=numbers)
    found = EntropyModulation(segments="steps")(ADVANTAGES[:, :1].expand(2, 3), SIGNAL, batch)
    assert found[0].tolist() == pytest.approx([1.4276, 0.5408, 0.5408], abs=5e-5)
    assert found[1, :2].tolist() == pytest.approx([-0.6696, -1.2988], abs=5e-5)


def test_equal_entropies():
    """g = 1 for all; each first step is paid 0.1 * exp(0), a mean of 0.05 over the steps: A + 0.05 and A - 0.05."""
    batch = rollouts([0.0, 0.0], lengths=[2, 2], entropies=torch.full((2, 2), 0.3), turn_ids=TURNS)
    found = EntropyModulation()(ADVANTAGES, SIGNAL, batch)
    torch.testing.assert_close(found, ADVANTAGES.double() + torch.tensor([0.05, -0.05]).double())


def test_without_bonus_and_sharpness_it_only_centres():
    """sharpness 0, zeta 0: A minus its mean over steps, here 0."""
    batch = rollouts([0.0, 0.0], lengths=[2, 2], entropies=ENTROPIES, turn_ids=TURNS)
    torch.testing.assert_close(EntropyModulation(0.0, 1.0, 0.0)(ADVANTAGES, SIGNAL, batch), ADVANTAGES.double())


def test_score_norm_grows_with_entropy():
    """E ||grad log pi||^2 with respect to the logits is 1 - sum p^2: what the weight is there to even out."""
    for logits in ([0.0, 0.0, 0.0], [3.0, 0.0, 0.0]):
        p = torch.tensor(logits, dtype=torch.float64).softmax(0)
        norms = ((torch.eye(3) - p) ** 2).sum(1)
        assert (p * norms).sum().item() == pytest.approx(1 - (p**2).sum().item())


def test_min_max():
    """(2, 4, 3): (x - 2) / 2 = (0, 1, .5); no spread gives 0, nothing gives nothing."""
    assert min_max(torch.tensor([2.0, 4, 3])).tolist() == pytest.approx([0, 1, 0.5])
    assert min_max(torch.tensor([2.0, 2])).tolist() == [0, 0]
    assert min_max(torch.tensor([])).tolist() == []


def test_needs_follow_the_segments():
    """A step is a turn or a step of reasoning, and its numbers are what is needed."""
    assert recipes.build("empg").needs == {"entropies", "turn_ids"}
    assert recipes.build("empg", segments="steps").needs == {"entropies", "step_ids"}
    with pytest.raises(ValueError, match="one of turns, steps, not 'tokens'"):
        recipes.build("empg", segments="tokens")
