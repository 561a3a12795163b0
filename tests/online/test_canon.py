"""Worked numbers of conditional advantage estimation."""

from __future__ import annotations

import pytest
import torch

from prefopt import recipes
from prefopt.online.advantage.conditional import restarted_cosine
from tests.online.samples import advantages, rollouts

REWARDS = [1.0, 0, 1, 1]


def by_entropy(rewards: list[float] = REWARDS, entropies: list[float] | None = None, **settings) -> list[float]:
    """Advantages of one group, of one token a row, in the order of their entropy unless said."""
    entropy = torch.tensor(entropies or [0.1 * i for i in range(len(rewards))])[:, None]
    return advantages("canon", rollouts(rewards, entropies=entropy), **settings)[:, 0].tolist()


@pytest.mark.parametrize(
    ("inter", "expected"),
    [(1.0, [0, -1, 0.5, 0.5]), (0.0, [0.5, -0.5, 0, 0]), (0.5, [0.25, -0.75, 0.25, 0.25])],
)
def test_halves(inter, expected):
    """Sorted by the metric (1, 0 | 1, 1): means 1/2 and 1. Against the other half: 1 - 1, 0 - 1, 1 - 1/2, 1 - 1/2."""
    assert by_entropy(inter=inter) == pytest.approx(expected)


def test_half_and_half_is_dr_grpo():
    """Equal halves: (r - m_low) / 2 + (r - m_high) / 2 = r - mean. With an odd group it is not so."""
    batch = rollouts(REWARDS * 2, [0] * 4 + [1] * 4, entropies=torch.linspace(1, 2, 8)[:, None])
    torch.testing.assert_close(advantages("canon", batch, inter=0.5), advantages("dr_grpo", batch))
    assert by_entropy([0.0, 0, 1], inter=0.5) == pytest.approx([-0.25, -0.25, 0.75])  # halves (0 | 0, 1)


def test_ties_share_the_halves():
    """Equal metrics throughout: every row is half in each half, whose means are both 3/4: r - mean at any ``inter``.

    Entropies (0, 1, 1, 1): the low half is row 0 and a third of each other; of rewards (1, 0, 1, 1) it has 1 + 2/3,
    mean 5/6; the high half 4/3 of 2, mean 2/3. Row 0: 1 - 2/3. Row 1: 2/3 * (0 - 5/6) + 1/3 * (0 - 2/3) = -7/9.
    """
    assert by_entropy(entropies=[1.0] * 4) == pytest.approx([0.25, -0.75, 0.25, 0.25])
    assert by_entropy(entropies=[0.0, 1, 1, 1])[:2] == pytest.approx([1 / 3, -7 / 9])


def test_alpha_favours_high_entropy():
    """alpha = 0.9: high rows 1 - 0.9 * 0.5 = 0.55, low rows 0.9 * 1 - 1 = -0.1 and 0.9 * 0 - 1 = -1."""
    assert by_entropy(alpha=0.9) == pytest.approx([-0.1, -1, 0.55, 0.55])


def test_alpha_favours_short_completions():
    """Lengths 1 to 4, alpha = 0.9: short rows r - 0.9 * 1 = (0.1, -0.9), long rows 0.9 * 1 - 0.5 = 0.4."""
    found = advantages("canon", rollouts(REWARDS, lengths=[1, 2, 3, 4]), metric="length", alpha=0.9)[:, 0].tolist()
    assert found == pytest.approx([0.1, -0.9, 0.4, 0.4])


def test_length_needs_no_entropies():
    """Lengths stand in the mask; entropies are needed only where they are the metric."""
    assert recipes.build("canon", metric="length").needs == frozenset()
    assert recipes.build("canon").needs == {"entropies"}


def test_annealing():
    """Mean reward 3/4: ``inter`` 3/4: 3/4 * (0, -1, .5, .5) + 1/4 * (.5, -.5, 0, 0); reversed with 1/4."""
    assert by_entropy(schedule="anneal") == pytest.approx([0.125, -0.875, 0.375, 0.375])
    assert by_entropy(schedule="anneal_reversed") == pytest.approx([0.375, -0.625, 0.125, 0.125])


def test_cosine_restarts():
    """Top 0.6: 0 at step 0, 0.3 at 15, 0.6 at 30, 0.3 in the middle of each of three cosines, 0 from 150 on."""
    found = [restarted_cosine(step, 0.6, 0.0) for step in (0, 15, 30, 50, 70, 90, 110, 130, 150, 999)]
    assert found == pytest.approx([0, 0.3, 0.6, 0.3, 0.6, 0.3, 0.6, 0.3, 0, 0])


def test_schedule_follows_the_state():
    """``cosine``: at step 0 ``inter`` is 1, at step 30 0.4: 0.4 * (0, -1, .5, .5) + 0.6 * (.5, -.5, 0, 0)."""
    objective = recipes.build("canon", schedule="cosine")
    batch = rollouts(REWARDS, entropies=torch.arange(4.0)[:, None])
    state = objective.init_state()
    assert objective.prepare(batch, state).advantages[:, 0].tolist() == pytest.approx([0, -1, 0.5, 0.5])
    for _ in range(30):
        state = objective.update(state, objective.prepare(batch, state).statistics)
    assert objective.prepare(batch, state).advantages[:, 0].tolist() == pytest.approx([0.3, -0.7, 0.2, 0.2])


def test_unknown_metric():
    """The message names both metrics."""
    with pytest.raises(ValueError, match="metric must be one of entropy, length, not 'depth'"):
        recipes.build("canon", metric="depth")
