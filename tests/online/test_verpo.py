"""The recipe `verpo`: worked numbers through ``prepare``, groups, turns on tokens, and what stays out."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from prefopt import recipes
from prefopt.batch import PolicyOutputs, Rollouts
from prefopt.composition import IncompatibleParts

NAN = math.nan
STAIRS = [[1.0, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]]
SINGLE = [1.2948, -0.2042, -0.4659, -0.6247]


def rollouts(results, groups=None, rewards=None, tokens: int = 2, **extras) -> Rollouts:
    rows = len(results)
    return Rollouts(
        torch.tensor(groups or [0] * rows),
        torch.ones(rows, tokens, dtype=torch.bool),
        torch.zeros(rows, 1) if rewards is None else torch.tensor(rewards)[:, None],
        torch.zeros(rows, tokens),
        extras or {"test_results": torch.tensor(results)},
    )


def multi_turn() -> Rollouts:
    """Two attempts of two turns; tokens of turn 0, a tool's answer, tokens of turn 1; the second attempt is shorter."""
    batch = rollouts(
        [0, 0],
        tokens=5,
        turn_test_results=torch.tensor([[[1.0, 0, 0], [1, 1, 1]], [[1, 0, 0], [1, 1, 0]]]),
        turn_ids=torch.tensor([[0, 0, 0, 1, 1], [0, 0, 1, 1, 1]]),
    )
    mask = torch.tensor([[1, 1, 0, 1, 1], [1, 0, 1, 0, 0]]).bool()
    return dataclasses.replace(batch, mask=mask)


def near(found: torch.Tensor, expected: list, tolerance: float = 5e-5) -> None:
    torch.testing.assert_close(found.double(), torch.tensor(expected).double(), atol=tolerance, rtol=0)


def test_single_turn():
    """The four attempts of the class's example; every token of a completion has its advantage."""
    found = recipes.build("verpo").prepare(rollouts(STAIRS)).advantages
    near(found, [[value] * 2 for value in SINGLE])


def test_groups_are_judged_apart():
    """Rows of two problems interleaved, the second of two tests that all pass: its advantages are exactly 0."""
    padded = [[1.0, 1, NAN, NAN]] * 4
    mixed = [row for pair in zip(STAIRS, padded, strict=True) for row in pair]
    found = recipes.build("verpo").prepare(rollouts(mixed, [5, 2] * 4)).advantages
    near(found[::2, 0], SINGLE)
    assert (found[1::2] == 0).all()


def test_several_turns():
    """Worked numbers on the tokens of each turn; a tool's tokens and padding stay 0."""
    found = recipes.build("verpo", multi_turn=True).prepare(multi_turn())
    near(found.advantages, [[0.2328, 0.2328, 0, 0.9948, 0.9948], [-0.7572, 0, -0.4704, 0, 0]])
    assert found.weights[1].tolist() == [0.25, 0, 0.25, 0, 0]


def test_turns_split_into_micro_batches_and_order():
    """Row by row or reversed: the losses add up to that of the whole, and advantages move with their rows."""
    objective, batch = recipes.build("verpo", multi_turn=True), multi_turn()
    logps = (batch.logps - 0.3 * torch.arange(10).reshape(2, 5) / 10).requires_grad_()
    prepared, policy = objective.prepare(batch), PolicyOutputs(logps)
    whole = objective.loss(batch, prepared, policy)
    parts = [objective.loss(batch[[i]], prepared[[i]], policy[[i]]) for i in (1, 0)]
    torch.testing.assert_close(sum(parts), whole)
    torch.testing.assert_close(objective.prepare(batch[[1, 0]]).advantages, prepared.advantages[[1, 0]])


def test_a_turn_without_verdicts_takes_the_row_out():
    """The tokens say two turns, the second was not judged: one attempt is left, and compares with nothing."""
    batch = multi_turn()
    results = batch.extras["turn_test_results"].clone()
    results[1, 1] = NAN
    batch = dataclasses.replace(batch, extras={**batch.extras, "turn_test_results": results})
    prepared = recipes.build("verpo", multi_turn=True).prepare(batch)
    assert prepared.metrics["rows_unscored"][0] == 2
    assert (prepared.weights == 0).all()


def test_rows_lost_by_the_sandbox_or_by_a_reward():
    """A NaN verdict and a missing score: both rows leave q, means and loss, as if they were not there."""
    lost = [*STAIRS, [1.0, NAN, 1, 1], [0.0, 0, 0, 0]]
    prepared = recipes.build("verpo").prepare(rollouts(lost, rewards=[0.0] * 5 + [NAN]))
    near(prepared.advantages[:4, 0], SINGLE)
    assert (prepared.weights[4:] == 0).all()
    assert prepared.metrics["rows_unscored"][0] == 2


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"beta": 0.0}, [0.74625, -0.24875, -0.24875, -0.24875]),
        ({"anchor": False}, [0.5485, 0.0446, -0.2172, -0.3759]),
        ({"alpha": 0.0, "density": False, "sum_to_one": True}, [1.12125, -0.12375, -0.37375, -0.62375]),
    ],
)
def test_ablations(settings, expected):
    """Anchor alone: .995 * (3/4, -1/4, ...). Pass rate with the anchor: + (.375, .125, -.125, -.375)."""
    near(recipes.build("verpo", **settings).prepare(rollouts(STAIRS)).advantages[:, 0], expected)


def test_rewards_act_only_where_asked():
    """Rewards (1, 0, 0, 1) change nothing; with other_rewards = 2 they add 2 * (+-1/2)."""
    rewards = [1.0, 0, 0, 1]
    near(recipes.build("verpo").prepare(rollouts(STAIRS, rewards=rewards)).advantages[:, 0], SINGLE)
    mixed = recipes.build("verpo", other_rewards=2.0).prepare(rollouts(STAIRS, rewards=rewards))
    near(mixed.advantages[:, 0], [SINGLE[0] + 1, SINGLE[1] - 1, SINGLE[2] - 1, SINGLE[3] + 1])
    assert mixed.metrics["weight.0"][0] / mixed.metrics["weight.0"][1] == 2


def test_whole_group_of_equal_programs():
    """All pass everything, or nothing: no signal, counted as a group without any."""
    for verdict in (0.0, 1.0):
        prepared = recipes.build("verpo").prepare(rollouts([[verdict] * 3] * 5))
        assert (prepared.advantages == 0).all()
        assert prepared.metrics["groups_without_signal"][0] == 1


def test_needs_follow_the_turns():
    """One verdict a test, or one a turn and test with the turns' numbers."""
    assert recipes.build("verpo").needs == {"test_results"}
    assert recipes.build("verpo", multi_turn=True).needs == {"turn_test_results", "turn_ids"}


def test_a_weighting_of_advantages_has_nothing_to_combine():
    """VeRPO's advantage comes from tests, not from each reward; GDPO combines those of each reward."""
    with pytest.raises(IncompatibleParts, match="the same for every reward"):
        recipes.build("verpo", weighting="gdpo")
