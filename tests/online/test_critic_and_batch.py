"""Worked numbers of REINFORCE++, of generalised advantages with their critic's loss, and of process supervision."""

from __future__ import annotations

import math

import pytest
import torch

from prefopt import recipes
from prefopt.batch import PolicyOutputs, Rollouts
from prefopt.online.advantage.generalised import generalised_advantages
from prefopt.online.regularise import ValueLoss
from tests.online.samples import advantages, rollouts

VALUES = torch.tensor([[0.5, 0.6, 0.8]])


def test_whitening():
    """Six tokens (1, 1, 0, 0, 0, 0): mean 1/3, unbiased variance (2 * 4/9 + 4 * 1/9) / 5 = 4/15, sd 0.5164.

    (2/3) / 0.5164 = 1.2910 and (-1/3) / 0.5164 = -0.6455.
    """
    found = advantages("reinforce_pp", rollouts([1.0, 1, 0, 0, 0, 0]))[:, 0]
    assert found.tolist() == pytest.approx([1.2910] * 2 + [-0.6455] * 4, abs=5e-5)


def test_whitening_counts_tokens():
    """A completion of two tokens with reward 1 and one of four with reward 0 are the same six tokens."""
    found = advantages("reinforce_pp", rollouts([1.0, 0.0], lengths=[2, 4]))
    assert found[0].tolist() == pytest.approx([1.2910, 1.2910, 0, 0], abs=5e-5)
    assert found[1].tolist() == pytest.approx([-0.6455] * 4, abs=5e-5)


def test_divergence_to_come():
    """Reward 1, beta 0.5, log pi_old - log pi_ref = (0.2, 0.4): A = (1 - 0.3, 1 - 0.2) = (0.7, 0.8) before whitening.

    Mean 0.75, unbiased variance 0.005, sd 0.070711: (-0.7071, 0.7071).
    """
    batch = rollouts([1.0], lengths=[2], logps=torch.zeros(1, 2), ref_logps=torch.tensor([[-0.2, -0.4]]))
    assert advantages("reinforce_pp", batch, beta=0.5)[0].tolist() == pytest.approx([-0.7071, 0.7071], abs=1e-4)


def test_group_baseline_before_whitening():
    """Groups (1, 0) and (3, 1): centred (0.5, -0.5, 1, -1), unbiased variance 2.5 / 3, sd 0.912871."""
    found = advantages("reinforce_pp", rollouts([1.0, 0, 3, 1], [0, 0, 1, 1]), baseline=True)[:, 0]
    assert found.tolist() == pytest.approx([x / 0.912871 for x in (0.5, -0.5, 1, -1)], abs=1e-5)


def test_generalised_advantages():
    """r = (0, 0, 1), V = (0.5, 0.6, 0.8), discount 1, trace 0.95, V after the end 0.

    delta = (0.6 - 0.5, 0.8 - 0.6, 1 - 0.8) = (0.1, 0.2, 0.2); A_3 = 0.2, A_2 = 0.2 + 0.95 * 0.2 = 0.39,
    A_1 = 0.1 + 0.95 * 0.39 = 0.4705.
    """
    batch = rollouts([1.0], lengths=[3], values=VALUES)
    assert advantages("gae", batch)[0].tolist() == pytest.approx([0.4705, 0.39, 0.2])


def test_values_outside_the_mask_are_not_read():
    """A tool's output between two tokens and padding after them: the critic's NaN there changes nothing."""
    mask = torch.tensor([[True, False, True, True, False]])
    values = torch.tensor([[0.5, math.nan, 0.6, 0.8, math.nan]])
    batch = Rollouts(torch.zeros(1), mask, torch.ones(1, 1), torch.zeros(1, 5), {"values": values})
    assert advantages("gae", batch)[0].tolist() == pytest.approx([0.4705, 0, 0.39, 0.2, 0])


def test_trace_of_one_is_reward_minus_value():
    """The deltas telescope: A_t = 1 - V_t."""
    batch = rollouts([1.0], lengths=[3], values=VALUES)
    assert advantages("gae", batch, trace=1.0)[0].tolist() == pytest.approx([0.5, 0.4, 0.2])


def test_whitened_generalised_advantages():
    """(0.4705, 0.39, 0.2): mean 0.3535, sd 0.138924: (0.8422, 0.2627, -1.1049); returns stay as they are."""
    batch = rollouts([1.0], lengths=[3], values=VALUES)
    found = advantages("gae", batch, whitened=True)[0].tolist()
    assert found == pytest.approx([0.8422, 0.2627, -1.1049], abs=5e-4)
    carried = recipes.build("gae", whitened=True).prepare(batch).carried["regularise.0"]
    assert carried[0].tolist() == pytest.approx([0.9705, 0.99, 1.0])


def test_critic_loss():
    """Returns A + V = (0.9705, 0.99, 1); new values (0.6, 0.6, 1) miss by 0.3705, 0.39 and 0.

    0.5 * (0.13727 + 0.1521 + 0) / 3 = 0.048229. At ratio 1 the surrogate's mean is (0.4705 + 0.39 + 0.2) / 3 = 0.3535.
    The gradient on the first value is 0.5 * 2 * (0.6 - 0.9705) / 3 = -0.1235.
    """
    batch = rollouts([1.0], lengths=[3], values=VALUES)
    objective = recipes.build("gae")
    new = torch.tensor([[0.6, 0.6, 1.0]], requires_grad=True)
    loss = objective.loss(batch, objective.prepare(batch), PolicyOutputs(torch.zeros(1, 3), {"values": new}))
    assert loss.item() == pytest.approx(0.048229 - 0.3535, abs=1e-5)
    assert torch.autograd.grad(loss, new)[0][0].tolist() == pytest.approx([-0.1235, -0.13, 0], abs=1e-5)


def test_bounded_critic_loss():
    """V_old 0.5, return 0.9705, bound 0.1: V = 0.8 is held at 0.6, the larger error is (0.6 - 0.9705)^2 = 0.13727."""
    batch = rollouts([1.0], lengths=[3], values=VALUES)
    part = ValueLoss(1.0, 0.1)
    returns = part.carry(torch.ones(1), batch)
    policy = PolicyOutputs(torch.zeros(1, 3), {"values": torch.tensor([[0.8, 0.6, 0.8]])})
    assert part(policy, batch, torch.ones(1, 3), torch.ones(1, 3), carried=returns)[0, 0].item() == pytest.approx(
        0.13727, abs=1e-5
    )


def test_no_critic_loss_needs_no_new_values():
    """Without its loss the critic is only read: the values of sampling time, none with gradient."""
    assert recipes.build("gae", value_coefficient=0.0).needs == {"values"}


def test_process_supervision():
    """y1's steps (0.2, 0.8), y2's (0.5, 0.5): mean 0.5, unbiased sd sqrt(0.18 / 3) = 0.244949.

    n = (-1.2247, 1.2247) and (0, 0). The first token of y1 gets both, 0, the second the last, 1.2247.
    """
    batch = rollouts(
        [0.0, 1.0],
        lengths=[2, 2],
        step_rewards=torch.tensor([[0.2, 0.8], [0.5, 0.5]]),
        step_ids=torch.tensor([[0, 1], [0, 1]]),
    )
    found = advantages("process_grpo", batch)
    torch.testing.assert_close(found, torch.tensor([[0, 1.2247], [0, 0]]), atol=5e-5, rtol=0)


def test_process_supervision_of_unequal_steps():
    """y1 has one step (1), y2 three (0, 1, 0), of lengths 1 and (2, 1, 1), then one token after its last step.

    Mean 0.5, unbiased sd sqrt(1 / 3) = 0.57735: n = 0.8660 for a 1 and -0.8660 for a 0. y2: the sum from each step on
    is (-0.8660, 0, -0.8660), and 0 behind the last step.
    """
    batch = rollouts(
        [0.0, 0.0],
        lengths=[1, 5],
        step_rewards=torch.tensor([[1.0, math.nan, math.nan], [0, 1, 0]]),
        step_ids=torch.tensor([[0, 0, 0, 0, 0], [0, 0, 1, 2, 3]]),
    )
    found = advantages("process_grpo", batch, eps=0.0)
    high = math.sqrt(3) / 2
    torch.testing.assert_close(found, torch.tensor([[high, 0, 0, 0, 0], [-high, -high, 0, -high, 0]]))


def test_any_length_and_any_hole():
    """The doubling sum against the recursion itself, token by token from the last, for random masks."""
    generator = torch.Generator().manual_seed(0)
    for length in range(1, 10):
        mask = torch.rand(20, length, generator=generator) < 0.6
        values = torch.rand(20, length, generator=generator, dtype=torch.float64)
        reward = torch.rand(20, generator=generator, dtype=torch.float64)
        found = generalised_advantages(reward, values, mask, 0.9, 0.7)
        for row in range(20):
            value, advantage, gain = 0.0, 0.0, reward[row].item()
            for t in reversed(torch.nonzero(mask[row]).flatten().tolist()):
                advantage = gain + 0.9 * value - values[row, t].item() + 0.9 * 0.7 * advantage
                value, gain = values[row, t].item(), 0.0
                assert found[row, t].item() == pytest.approx(advantage)
