"""Worked numbers of token-level weighted GRPO."""

from __future__ import annotations

import pytest
import torch

from prefopt import recipes
from prefopt.online.group_divergence import group_divergence
from prefopt.online.token_weight import DivergentPositions
from tests.online.samples import rollouts

# Two completions, three positions, two tokens.
ROWS = torch.tensor([[[0.5, 0.5], [0.6, 0.4], [0.9, 0.1]], [[0.5, 0.5], [0.4, 0.6], [0.1, 0.9]]]).double().log()
BOTH = torch.ones(2, 3, dtype=torch.bool)


def test_divergence():
    """t2: m = log sqrt(.24) for both tokens, d = +-.2027: e^d + e^-d - 2 = .0412. t3: d = +-1.0986: 3 + 1/3 - 2."""
    assert group_divergence(ROWS, BOTH).tolist() == pytest.approx([0, 0.0412, 1.3333], abs=5e-5)


def test_ended_completions_are_uniform():
    """The second ends before t3: rows (.9, .1) and (.5, .5). d of the first is (log .5 - log row) / 2 = (-.2939, .8047)
    and of the second its negative: sum of 2 cosh d - 2 over tokens, halved: (.0870 + .6833) / 2 = .3851."""
    mask = torch.tensor([[True, True, True], [True, True, False]])
    assert group_divergence(ROWS, mask)[2].item() == pytest.approx(0.3851, abs=5e-5)


def test_gaps_are_bounded():
    """A token of probability e^-100 beside one of 1/2: d is clipped at 11 nats, e^11 - 12 = 59862 a row at most."""
    rows = torch.tensor([[[-0.5, -100.0]], [[-0.5, -0.5]]])
    assert group_divergence(rows, torch.ones(2, 1, dtype=torch.bool)).item() < 59863


def test_weights():
    """D = (0, .0412, 1.3333), alpha 1.7: 1 + .7 * .0412 / 1.3333 = 1.0217."""
    divergence = group_divergence(ROWS, BOTH).expand(2, 3)
    batch = rollouts([1.0, 0.0], lengths=[3, 3], group_divergence=divergence)
    found = DivergentPositions()(torch.zeros(2, 3), batch)
    assert found[0].tolist() == pytest.approx([1, 1.0217, 1.7], abs=5e-5)
    assert found[1].tolist() == found[0].tolist()


def test_prompts_are_scaled_apart():
    """Each prompt has its own least and largest; where all positions are alike the weight is 1."""
    divergence = torch.tensor([[0.0, 2.0], [0.0, 2.0], [5.0, 5.0], [5.0, 5.0]])
    batch = rollouts([1.0, 0, 1, 0], [0, 0, 1, 1], [2, 1, 2, 2], group_divergence=divergence)
    found = DivergentPositions()(torch.zeros(4, 2), batch)
    assert found[0].tolist() == pytest.approx([1, 1.7])
    assert (found[2:] == 1).all()


def test_loss_weights():
    """Mean over the batch's tokens, times the weight: D = (0, 1) gives 1/4 and 1.7/4."""
    batch = rollouts([1.0, 0.0], lengths=[2, 2], group_divergence=torch.tensor([[0.0, 1.0], [0.0, 1.0]]))
    assert recipes.build("tw_grpo").prepare(batch).weights[0].tolist() == pytest.approx([0.25, 0.425])
