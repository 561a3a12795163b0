"""Worked numbers of the confidence gap."""

from __future__ import annotations

import math

import pytest
import torch

from prefopt.online.adjust.confidence import low_confidence
from tests.online.samples import advantages, rollouts


def batch(rewards: list[float]):
    """Four completions; c = exp(-2) = 0.1353 of the first and 0.8 of the others; the prompt's is 0.4."""
    logps = torch.full((4, 5), math.log(0.8))
    logps[0] = torch.tensor([-0.05, -0.02, -2.0, -0.1, -0.5])
    prompt = torch.tensor([[-0.1, math.log(0.4), math.nan]] * 4)
    return rollouts(
        rewards, lengths=[5] * 4, logps=logps, prompt_logps=prompt, prompt_mask=torch.tensor([[True, True, False]] * 4)
    )


def test_gap():
    """r = (1, 1, 0, 0): +-0.8660. A fifth of five tokens is the one of -2: 0.8660 + 0.3 * (0.4 - 0.1353) = 0.9454.

    With confidence 0.8: 0.8660 + 0.3 * (0.4 - 0.8) = 0.7460; the wrong ones get the term, too: -0.9860.
    """
    found = advantages("pro_grpo", batch([1.0, 1, 0, 0]), eps=0.0)[:, 0].tolist()
    assert found == pytest.approx([0.9454, 0.7460, -0.9860, -0.9860], abs=5e-5)


def test_groups_without_a_correct_completion_stay():
    """No reward is positive: plain GRPO, here silent."""
    assert (advantages("pro_grpo", batch([0.0] * 4)) == 0).all()


def test_solved_groups():
    """All correct: the term acts alone, 0.3 * 0.2647 = 0.0794 and -0.12; or not at all, if told so."""
    assert advantages("pro_grpo", batch([1.0] * 4))[:2, 0].tolist() == pytest.approx([0.0794, -0.12], abs=5e-5)
    assert (advantages("pro_grpo", batch([1.0] * 4), skip_solved=True) == 0).all()


def test_only_correct_completions():
    """As in `test_gap` for the correct; the wrong keep their -.8660."""
    found = advantages("pro_grpo", batch([1.0, 1, 0, 0]), only_correct=True, eps=0.0)[:, 0].tolist()
    assert found == pytest.approx([0.9454, 0.7460, -0.8660, -0.8660], abs=5e-5)


def test_how_many_tokens_count():
    """Of 15 tokens a fifth is 3, of 16 it is 4 (rounded up), of 1 it is 1; a row without a token has confidence 1."""
    for length, taken in ((15, 3), (16, 4), (1, 1)):
        logps = -torch.arange(1.0, 17.0)[None]
        mask = torch.arange(16)[None] < length
        smallest = [-float(length - i) for i in range(taken)]
        assert low_confidence(logps, mask, 0.2).item() == pytest.approx(math.exp(sum(smallest) / taken))
    assert low_confidence(torch.zeros(1, 3), torch.zeros(1, 3, dtype=torch.bool), 0.2).item() == 1
