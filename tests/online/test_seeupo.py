"""Worked numbers of sequence-level sequential updates, and their passes on a toy of two turns."""

from __future__ import annotations

import pytest
import torch

from prefopt import recipes
from prefopt.batch import PolicyOutputs
from prefopt.online.advantage import ActiveNormalised
from prefopt.online.turnwise import advanced, turn_ratio
from tests.online.samples import rollouts


def test_advantages():
    """Groups (1, 0, 0, 1), (1, 0, 0, 0): centred (.5, -.5, -.5, .5 | .75, -.25 x 3), unbiased sd .5: times 2."""
    rewards = [1.0, 0, 0, 1, 1, 0, 0, 0]
    found = ActiveNormalised()(torch.tensor(rewards), rollouts(rewards, [0] * 4 + [1] * 4))
    assert found.tolist() == pytest.approx([1, -1, -1, 1, 1.5, -0.5, -0.5, -0.5])


def test_rows_that_have_ended():
    """The last two rows have no token in this turn: (1, 0 | 1) remain, a row alone keeps its reward.

    x = (.5, -.5, 1), mean 1/3, sd .7638: (.2182, -1.0911, .8729, 0, 0).
    """
    rewards = [1.0, 0, 1, 0, 0]
    batch = rollouts(rewards, [0, 0, 1, 1, 1], [1, 1, 1, 0, 0])
    found = ActiveNormalised()(torch.tensor(rewards), batch).tolist()
    assert found == pytest.approx([0.2182, -1.0911, 0.8729, 0, 0], abs=5e-5)


def test_outliers_are_cut_off():
    """One success among 24 rows of a group: x / sd = (23/24) / sqrt(23/24/23 ...) = 4.69, cut off at 3."""
    rewards = [1.0] + [0.0] * 23
    assert ActiveNormalised()(torch.tensor(rewards), rollouts(rewards))[0].item() == 3


def test_correction():
    """d = (.1, .3): s = e^.2 = 1.2214, cut to 1.2; then d = (-.1, -.5): s = e^-.3 = .7408, cut to .8: M = .96."""
    mask = torch.tensor([[True, True, False]])
    zeros, m = torch.zeros(1, 3), torch.ones(1)
    first = turn_ratio(zeros, torch.tensor([[0.1, 0.3, 9.0]]), mask)
    assert first.item() == pytest.approx(1.2214, abs=5e-5)
    m = advanced(m, first)
    assert m.item() == pytest.approx(1.2)
    second = turn_ratio(zeros, torch.tensor([[-0.1, -0.5, 9.0]]), mask)
    assert second.item() == pytest.approx(0.7408, abs=5e-5)
    assert advanced(m, second).item() == pytest.approx(0.96)
    assert turn_ratio(zeros, zeros + 1, torch.zeros_like(mask)).item() == 1


def test_correction_multiplies_the_advantage():
    """Rewards (1, 0) of one turn: x = +-.5, sd .7071: +-.7071; times M = (1.2, .8)."""
    objective = recipes.build("seeupo", beta=0.0)
    batch = rollouts([1.0, 0.0], turn_correction=torch.tensor([1.2, 0.8]))
    assert objective.prepare(batch).advantages[:, 0].tolist() == pytest.approx([1.2 * 0.7071, -0.8 * 0.7071], abs=1e-4)


def test_passes():
    """Turns 1 and 0, in this order; the second row has no turn 1."""
    batch = rollouts([1.0, 0.0], lengths=[3, 1], turn_ids=torch.tensor([[0, 0, 1], [0, 0, 0]]))
    passes = list(recipes.build("seeupo").passes(batch))
    assert [turn for turn, _ in passes] == [1, 0]
    assert passes[0][1].mask.tolist() == [[False, False, True], [False, False, False]]
    assert passes[1][1].mask.tolist() == [[True, True, False], [True, False, False]]


def test_two_turns_learn_to_agree():
    """Two turns of two actions, reward 1 for (good, good) alone: 150 batches of 32 through the passes, seed 0.

    From a probability of .3 each (expected reward .09) both turns reach .9.
    """
    generator = torch.Generator().manual_seed(0)
    logits = torch.full((2,), -0.85, dtype=torch.float64, requires_grad=True)  # log-odds of good at turns 0 and 1
    objective = recipes.build("seeupo", beta=0.0)
    optimiser = torch.optim.SGD([logits], 0.5)

    def logps_of(actions):
        signs = torch.where(actions, 1.0, -1.0).double()
        return torch.nn.functional.logsigmoid(signs * logits)

    for _ in range(150):
        actions = torch.rand(32, 2, generator=generator) < logits.detach().sigmoid()
        turn_ids = torch.arange(2).expand(32, 2)
        batch = rollouts(actions.all(-1).float().tolist(), lengths=[2] * 32, turn_ids=turn_ids)
        correction = objective.start(batch).double()
        for _, rows in objective.passes(batch):
            before = logps_of(actions)
            rows = objective.at_turn(rows, before, correction)
            optimiser.zero_grad()
            objective.loss(rows, objective.prepare(rows), PolicyOutputs(before)).backward()
            optimiser.step()
            correction = advanced(correction, turn_ratio(before.detach(), logps_of(actions).detach(), rows.mask))
    assert logits.detach().sigmoid().min() > 0.9
