"""Worked numbers of rewards shaped by entropy, of tokens and of completions."""

from __future__ import annotations

import math

import pytest
import torch

from prefopt import recipes
from prefopt.online.advantage import EntropyShapedSequences, EntropyShapedTokens
from prefopt.online.ratio import MeanTokenRatio
from tests.online.samples import advantages, rollouts

# Two correct completions of two tokens and one, and a wrong one of two tokens.
BATCH = rollouts(
    [1.0, 1.0, 0.0],
    lengths=[2, 1, 2],
    entropies=torch.tensor([[0.5, 1.0], [1.5, math.nan], [0.5, 0.25]]),
)


def token_rewards(**settings: object) -> tuple[torch.Tensor, torch.Tensor]:
    correct = BATCH.mask & (BATCH.rewards > 0.5)
    return EntropyShapedTokens(**settings).token_rewards(correct, BATCH.mask, BATCH)


def test_token_rewards():
    """First position: two correct, entropies 0.5 and 1.5: 1 + 0.1 * 2 * 0.25 = 1.05 and 1 + 0.1 * 2 * 0.75 = 1.15.

    Second: one correct, 1 + 0.1 = 1.10. The wrong one is alone at both: -1.1.
    """
    positive, negative = token_rewards()
    zeros = [0.0, 0.0]
    torch.testing.assert_close(positive, torch.tensor([[1.05, 1.1], [1.15, 0], zeros]).double())
    torch.testing.assert_close(negative, torch.tensor([zeros, zeros, [-1.1, -1.1]]).double())


def test_token_advantages():
    """r+ = (1.05, 1.10, 1.15, 0, 0): mean 0.66, unbiased sd 0.603531: 0.6462, 0.7290, 0.8119.

    r- = (0, 0, 0, -1.1, -1.1): mean -0.44, sd 0.602495: -0.66 / 0.602495 = -1.0954.
    """
    found = advantages("gtpo", BATCH)
    expected = torch.tensor([[0.6462, 0.7290], [0.8119, 0], [-1.0954, -1.0954]])
    torch.testing.assert_close(found, expected, atol=5e-5, rtol=0)


def test_conservation():
    """base + bonus = 1: the rewards of the correct at a position add up to how many they are, 2 and 1."""
    positive, negative = token_rewards(base=0.9)
    assert positive.sum(0).tolist() == pytest.approx([2, 1])
    assert negative.sum(0).tolist() == pytest.approx([-1, -1])


def test_wrong_tokens_lose_by_certainty():
    """Two wrong ones, entropies 0.5 and 0.25: 1/H = 2 and 4: -1 - 0.1 * 2 / 3 and -1 - 0.1 * 2 * 2/3."""
    batch = rollouts([0.0, 0.0], entropies=torch.tensor([[0.5], [0.25]]))
    nothing = torch.zeros(2, 1, dtype=torch.bool)
    _, negative = EntropyShapedTokens().token_rewards(nothing, batch.mask, batch)
    assert negative[:, 0].tolist() == pytest.approx([-1 - 0.2 / 3, -1 - 0.4 / 3])


def test_sums_are_of_one_prompt():
    """Two prompts with one correct completion each: 1 + 0.1 for both, whatever their entropies; z-scores 0."""
    batch = rollouts([1.0, 1.0], [0, 1], entropies=torch.tensor([[0.5], [9.0]]))
    assert advantages("gtpo", batch).abs().max() < 1e-4


def test_entropy_bounds():
    """Bounds (0.2, 0.28) make 0.5 and 1.5 both 0.28: the correct share evenly."""
    positive, _ = token_rewards(entropy_bounds=(0.2, 0.28))
    assert positive[:2, 0].tolist() == pytest.approx([1.1, 1.1])


def test_vanishing_entropy():
    """A greedy policy: entropies 0. Shares of 1/H are even, shares of H are nothing; everything stays finite."""
    batch = rollouts([1.0, 1, 0, 0], entropies=torch.zeros(4, 1))
    correct = torch.tensor([[True], [True], [False], [False]])
    positive, negative = EntropyShapedTokens().token_rewards(correct, batch.mask, batch)
    assert positive[:, 0].tolist() == [1, 1, 0, 0]
    assert negative[:, 0].tolist() == pytest.approx([0, 0, -1.1, -1.1])


def test_sequence_rewards():
    """Mean entropies 0.75 and 1.5: 1 + 0.1 * 2 / 3 = 1.0667 and 1 + 0.1 * 4 / 3 = 1.1333; the wrong one -1.1."""
    found = EntropyShapedSequences().sequence_rewards(BATCH.rewards[:, 0], BATCH)
    assert found.tolist() == pytest.approx([1.0667, 1.1333, -1.1], abs=5e-5)


def test_sequence_advantages():
    """(1.0667, 1.1333, -1.1): mean 0.3667, sd sqrt((0.49 + 0.587778 + 2.151111) / 2) = 1.270608."""
    found = advantages("grpo_s", BATCH)[:, 0].tolist()
    assert found == pytest.approx([0.5509, 0.6034, -1.1543], abs=5e-5)


def test_mean_token_ratio():
    """Ratios 2 and 4 of two tokens: 3, where the geometric mean is sqrt(8). The padded one does not count."""
    logps = torch.tensor([[math.log(2), math.log(4), 0.0], [0.0, 0.0, 0.0]])
    mask = torch.tensor([[True, True, False], [False, False, False]])
    assert MeanTokenRatio()(logps, torch.zeros(2, 3), mask)[:, 0].tolist() == pytest.approx([3, 1])
    assert recipes.build("grpo", ratio="grpo_s").ratio == MeanTokenRatio()
