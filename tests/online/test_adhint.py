"""Worked numbers of adaptive hints; the formulas of the last three tests are reconstructed."""

from __future__ import annotations

import pytest
import torch

from prefopt import recipes
from prefopt.online.hints import given, hint_ratio, hint_tokens
from prefopt.online.token_weight import HintWeight
from tests.online.samples import rollouts


@pytest.mark.parametrize(("rewards", "expected"), [([0.0, 0, 1, 0], 0.475), ([0.0] * 4, 0.6), ([1.0] * 4, 0.1)])
def test_hint_ratio(rewards, expected):
    """.5 * (1 - mean) + .1."""
    assert hint_ratio(torch.tensor(rewards)) == pytest.approx(expected)


def test_hint_ratio_is_cut_off():
    """Noise of 1 and -1 leaves it within 0 and 1; .475 of 10 tokens is 5."""
    rewards = torch.tensor([0.0])
    assert [hint_ratio(rewards, noise=noise) for noise in (1.0, -1.0)] == [1, 0]
    assert hint_tokens(10, 0.475) == 5


def test_given_tokens():
    """The first tokens of the mask, wherever it begins."""
    mask = torch.tensor([[True, True, True], [False, True, True]])
    assert given(mask, torch.tensor([2, 1])).int().tolist() == [[1, 1, 0], [0, 1, 0]]


def sets(entropies=None):
    """Four unaided rows (0, 0, 1, 0) and four hinted ones (1, 1, 0, 1), each two tokens, the first given."""
    return rollouts(
        [0.0, 0, 1, 0, 1, 1, 0, 1],
        lengths=[2] * 8,
        hint_length=torch.tensor([0] * 4 + [1] * 4),
        entropies=torch.ones(8, 2) if entropies is None else entropies,
    )


def test_sets_are_judged_apart():
    """z = (-.5, -.5, 1.5, -.5) and (.5, .5, -1.5, .5); delta = .75 - .25: the odd ones out times 1.5."""
    prepared = recipes.build("adhint").prepare(sets())
    expected = [-0.5, -0.5, 2.25, -0.5, 0.5, 0.5, -2.25, 0.5]
    assert prepared.advantages[:, 0].tolist() == pytest.approx(expected, abs=1e-4)


def test_hints_of_failures_are_left_out():
    """The given token of the failed hinted row weighs 0, its own token as any other: 1 / (8 * 2)."""
    weights = recipes.build("adhint").prepare(sets()).weights
    assert weights[6].tolist() == [0, 1 / 16]
    assert weights[4].tolist() == pytest.approx([1 / 16, 1 / 16])


def test_hints_are_damped_by_entropy():
    """Hbar = 1 after the hint; hint entropies (1, .5, 2.5): exp(0), exp(-.5), exp(-1.5)."""
    entropies = torch.tensor([[1.0, 0.5, 2.5, 0.5, 1.5]])
    batch = rollouts([1.0], lengths=[5], hint_length=torch.tensor([3]), entropies=entropies)
    found = HintWeight()(torch.ones(1, 5), batch)[0].tolist()
    assert found == pytest.approx([1, 0.6065, 0.2231, 1, 1], abs=5e-5)
