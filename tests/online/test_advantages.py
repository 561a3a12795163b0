"""Worked numbers of the advantage estimators."""

from __future__ import annotations

import math

import pytest
import torch

from prefopt import recipes
from prefopt.batch import Rollouts
from prefopt.online.advantage import GroupNormalised


def rollouts(rewards: list[float], groups: list[int] | None = None) -> Rollouts:
    rows = len(rewards)
    return Rollouts(
        torch.tensor(groups or [0] * rows),
        torch.ones(rows, 1, dtype=torch.bool),
        torch.tensor(rewards, dtype=torch.float32)[:, None],
        torch.zeros(rows, 1),
    )


def advantages(name: str, rewards: list[float], groups: list[int] | None = None, **settings) -> list[float]:
    return recipes.build(name, **settings).prepare(rollouts(rewards, groups)).advantages[:, 0].tolist()


THREE_OF_EIGHT = [1.0, 0, 0, 1, 1, 0, 0, 0]


def test_grpo():
    """m = 3/8, unbiased variance = 8/7 * 3/8 * 5/8 = 0.267857, sd = 0.517549.

    (1 - 0.375) / (0.517549 + 1e-4) = 1.2074 and -0.375 / 0.517649 = -0.7244.
    """
    found = advantages("grpo", THREE_OF_EIGHT)
    assert found[0] == pytest.approx(1.2074, abs=5e-5)
    assert found[1] == pytest.approx(-0.7244, abs=5e-5)


def test_dr_grpo():
    """1 - 3/8 = 0.625 and -0.375."""
    assert advantages("dr_grpo", THREE_OF_EIGHT)[:2] == pytest.approx([0.625, -0.375])


def test_rloo():
    """8/7 of the centred reward: 0.7143 and -0.4286. Row 0 by hand: 1 - (2 of the other 7) = 5/7."""
    assert advantages("rloo", THREE_OF_EIGHT)[:2] == pytest.approx([5 / 7, -3 / 7])


def test_reinforce():
    """The reward itself."""
    assert advantages("reinforce", THREE_OF_EIGHT) == THREE_OF_EIGHT


def test_running_baseline():
    """Momentum 0.9, batches of mean 0.5 and 1.

    First batch: no baseline. m = 0.1 * 0.5 = 0.05, corrected 0.05 / (1 - 0.9) = 0.5. Second batch: r - 0.5.
    m = 0.9 * 0.05 + 0.1 * 1 = 0.145, corrected 0.145 / (1 - 0.81) = 0.763158.
    """
    objective = recipes.build("reinforce", baseline_momentum=0.9)
    first, second = rollouts([0.0, 1.0]), rollouts([1.0, 1.0])
    state = objective.init_state()
    prepared = objective.prepare(first, state)
    assert prepared.advantages[:, 0].tolist() == [0, 1]
    state = objective.update(state, prepared.statistics)
    prepared = objective.prepare(second, state)
    assert prepared.advantages[:, 0].tolist() == pytest.approx([0.5, 0.5])
    state = objective.update(state, prepared.statistics)
    assert objective.prepare(second, state).advantages[0, 0].item() == pytest.approx(1 - 0.145 / 0.19)


def test_running_baseline_skips_a_batch_without_scores():
    """A batch whose rows are all unscored moves neither the mean nor the count of steps."""
    objective = recipes.build("reinforce", baseline_momentum=0.5)
    state = objective.init_state()
    assert objective.update(state, objective.prepare(rollouts([math.nan] * 2), state).statistics) == state


@pytest.mark.parametrize(
    ("rewards", "expected"),
    [
        ([0.0] * 8, [-1 / 3] * 8),
        ([1.0] + [0.0] * 7, [1.7638] + [-0.5040] * 7),
        ([1.0] * 8, [0.0] * 8),
    ],
)
def test_ngrpo(rewards, expected):
    """One virtual 1 in the statistics of eight.

    All wrong: mean 1/9, squares 8/81 + 64/81 = 8/9, variance (8/9)/8 = 1/9, sd 1/3: (0 - 1/9)/(1/3) = -1/3.
    One correct: mean 2/9, squares 2 * 49/81 + 7 * 4/81 = 126/81, sd sqrt(126/81/8) = 0.440959: 0.7778/0.440959 = 1.7638
    and -0.2222/0.440959 = -0.5040. All correct: standard deviation 0, advantage 0.
    """
    assert advantages("ngrpo", rewards) == pytest.approx(expected, abs=5e-5)


def test_ngrpo_refuses_rewards_beyond_its_maximum():
    """A virtual completion that earns 1 is no maximum beside a reward of 2."""
    with pytest.raises(ValueError, match="a reward of 2 exceeds reward_max = 1"):
        advantages("ngrpo", [2.0, 0.0])


def test_unscored_rows_leave_the_baseline():
    """r = (1, 0, NaN): mean 1/2 of two rows, not 1/3 of three; the third row takes no part."""
    objective = recipes.build("dr_grpo")
    prepared = objective.prepare(rollouts([1.0, 0.0, math.nan]))
    assert prepared.advantages[:, 0].tolist() == pytest.approx([0.5, -0.5, 0])
    assert prepared.weights[:, 0].tolist() == pytest.approx([0.5, 0.5, 0])


def test_groups_need_not_be_contiguous_or_of_one_size():
    """Groups a = (0, 4), b = (1, 2, 3) interleaved: means 2 and 2."""
    assert advantages("dr_grpo", [0.0, 1, 2, 4, 3], [7, 3, 3, 7, 3]) == pytest.approx([-2, -1, 0, 2, 1])


def test_population_and_unbiased_deviation():
    """r = (0, 2), eps 0: population sd 1 gives +-1; unbiased sd sqrt(2) gives +-0.7071."""
    batch = rollouts([0.0, 2.0])
    signal = batch.rewards[:, 0]
    assert GroupNormalised(ddof=0, eps=0.0)(signal, batch).tolist() == pytest.approx([-1, 1])
    assert GroupNormalised(ddof=1, eps=0.0)(signal, batch).tolist() == pytest.approx([-(2**-0.5), 2**-0.5])


def test_dapo_leaves_uniform_groups_out_of_the_denominator():
    """Groups (1, 0) and (1, 1), two tokens a row: the second is left out, so a token weighs 1/4, not 1/8."""
    batch = rollouts([1.0, 0, 1, 1], [0, 0, 1, 1])
    batch = Rollouts(batch.group, torch.ones(4, 2, dtype=torch.bool), batch.rewards, torch.zeros(4, 2))
    prepared = recipes.build("dapo").prepare(batch)
    assert prepared.weights.tolist() == [[0.25, 0.25], [0.25, 0.25], [0, 0], [0, 0]]
    assert prepared.metrics["rows_dropped"][0] == 2
    assert prepared.metrics["groups_without_signal"][0] == 1


def test_ngrpo_leaves_only_solved_groups_out():
    """Groups (1, 1) solved and (0, 0) all wrong: the first is left out, the second stays."""
    prepared = recipes.build("ngrpo").prepare(rollouts([1.0, 1, 0, 0], [0, 0, 1, 1]))
    assert prepared.weights[:, 0].tolist() == [0, 0, 0.5, 0.5]
