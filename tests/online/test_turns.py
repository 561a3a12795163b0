"""Worked numbers of HGPO and GiGPO."""

from __future__ import annotations

import pytest
import torch

from prefopt.online.advantage import HierarchicalTurns
from prefopt.online.advantage.hierarchical import history_weights
from prefopt.online.turns import discounted_returns, shared_histories, turn_counts
from tests.online.samples import advantages, rollouts


def turns(rewards, states, groups=None, turn_rewards=None):
    """Completions with one token a turn."""
    width = max(len(row) for row in states)
    lengths = [len(row) for row in states]
    padded = torch.tensor([row + [-1] * (width - len(row)) for row in states])
    ids = torch.arange(width).expand(len(states), width)
    extras = {} if turn_rewards is None else {"turn_rewards": torch.tensor(turn_rewards)}
    return rollouts(rewards, groups, lengths, turn_states=padded, turn_ids=ids, **extras)


def test_returns():
    """Reward 1 at the end of three turns, gamma .95: .9025, .95, 1; a reward .5 of turn 1 itself: + .5 * .95, .5."""
    outcome, number = torch.tensor([1.0]), torch.tensor([3])
    assert discounted_returns(outcome, number, 4, 0.95, None)[0].tolist() == pytest.approx([0.9025, 0.95, 1, 0])
    of_turns = torch.tensor([[float("nan"), 0.5, 0.0, 7.0]])
    found = discounted_returns(outcome, number, 4, 0.95, of_turns)[0].tolist()
    assert found == pytest.approx([0.9025 + 0.475, 1.45, 1, 0])
    assert turn_counts(torch.tensor([[0, 1, 1, 2]]), torch.tensor([[True, True, True, False]])).item() == 2


def test_weights():
    """k = 1, 2, 3 at alpha 1: 2/9, 3/9, 4/9; advantages (-.5, .2, 1.0) give .4000. k = 1, 2 alone: 2/5, 3/5."""
    depths = torch.tensor([1, 2, 3])
    weights = history_weights(depths, torch.tensor([True, True, True]), 1.0)
    assert weights.tolist() == pytest.approx([0.2222, 0.3333, 0.4444], abs=5e-5)
    assert (weights @ torch.tensor([-0.5, 0.2, 1.0]).double()).item() == pytest.approx(0.4, abs=1e-5)
    found = history_weights(depths, torch.tensor([True, True, False]), 1.0).tolist()
    assert found == pytest.approx([0.4, 0.6, 0], abs=1e-6)


def test_two_depths():
    """Last turns at state 9 with R = (1, 1, 0, 0): a_1 = +-1. Three came from state 1, R = (1, 1, 0):
    a_2 = (1 - 2/3) / .4714 = .7071 for the first: A = .4 * 1 + .6 * .7071 = .8243.

    The third of them: .4 * -1 + .6 * -1.4142; the fourth came from elsewhere: a_1 alone, -1.
    """
    batch = turns([1.0, 1, 0, 0], [[1, 9], [1, 9], [1, 9], [2, 9]])
    found = advantages("hgpo", batch)[:, 1].tolist()
    assert found == pytest.approx([0.8243, 0.8243, -1.2485, -1.0], abs=5e-5)


def test_base_group():
    """The episode is the cluster k = 0 of weight 1: beside k = 1 (weight 2) at the first turn of (1, 0).

    Episode: +-.5 / .7071 = +-.7071 (unbiased); turn: R = (.95, 0), z = +-1: (.7071 + 2) / 3 = .9024.
    """
    batch = turns([1.0, 0], [[1, 2], [1, 3]])
    assert advantages("hgpo", batch, base_group=True)[:, 0].tolist() == pytest.approx([0.9024, -0.9024], abs=5e-5)


def test_histories():
    """Depth 1 compares the state; depth 2 also the one before; prompts never mix."""
    states = torch.tensor([[1, 9], [2, 9], [1, 9]])
    group = torch.tensor([0, 0, 1])
    one, two = (shared_histories(group, states, depth)[:, 1] for depth in (1, 2))
    assert one[0] == one[1] != one[2]
    assert two[0] != two[1]


def test_gigpo():
    """Returns (1, 0, 0) of one turn each at states (5, 5, 6). Episode: mean 1/3, sd .5774: (1.1547, -.5774, -.5774).

    Step: state 5 has R = (1, 0): +-.7071; state 6 stands alone: 0.
    """
    batch = turns([1.0, 0, 0], [[5], [5], [6]])
    found = advantages("gigpo", batch)[:, 0].tolist()
    assert found == pytest.approx([1.1547 + 0.7071, -0.5774 - 0.7071, -0.5774], abs=1e-4)
    plain = advantages("gigpo", batch, normalise=False)[:, 0].tolist()
    assert plain == pytest.approx([2 / 3 + 1 / 2, -1 / 3 - 1 / 2, -1 / 3])


def test_step_term_of_gigpo_is_hgpo_of_depth_one():
    """Without the episode's term, and with the same deviation; the weight of a single cluster is 2 / (2 + 1e-6)."""
    batch = turns([1.0, 0, 0.5, 0.2], [[1, 2, 3], [1, 2], [2, 2], [1, 4]])
    signal = batch.rewards[:, 0].double()
    step = HierarchicalTurns(depth=1, episode=1.0, turn_ddof=0)(signal, batch)
    episode = HierarchicalTurns(depth=1, episode=1.0, turn=0.0)(signal, batch)
    torch.testing.assert_close(step - episode, HierarchicalTurns(depth=1)(signal, batch))


def test_an_episode_counts_once():
    """Four turns of one episode and one of the other: the mean is 1/2, not 4/5, so that advantages are opposite.

    The released code's mean is 4/5, its unbiased deviation sqrt(.8 / 4) = .4472: .2 and -.8 over that.
    """
    batch = turns([1.0, 0], [[1, 2, 3, 4], [5]])
    released = advantages("gigpo", batch, episode_each_turn=True)[:, 0].tolist()
    assert released == pytest.approx([0.4472, -1.7889], abs=1e-4)
    found = advantages("gigpo", batch)
    assert found[0, 0].item() == pytest.approx(0.7071, abs=1e-4)
    assert found[1, 0].item() == pytest.approx(-0.7071, abs=1e-4)


def test_a_loop_compares_an_episode_with_itself():
    """State 1 twice in one episode of reward 1: R = (.95, 1), so the later turn is the better one."""
    batch = turns([1.0, 1.0], [[1, 1], [2, 3]])
    assert advantages("hgpo", batch, history=0)[0].tolist() == pytest.approx([-1, 1], abs=1e-4)


def test_depth_is_checked():
    """Depth 1 compares turns of the same current state; there is nothing below."""
    with pytest.raises(ValueError, match="at least 1, not 0"):
        HierarchicalTurns(depth=0)
