"""The slot of adjustments: what an adjustment sees, and how it travels with an advantage."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch

from prefopt import recipes
from prefopt.batch import Rollouts
from prefopt.online.advantage import GroupCentred
from prefopt.online.objective import OnlineObjective
from prefopt.online.sampling import InformativeGroups
from prefopt.online.slots import Adjustment


@dataclass(frozen=True)
class AddTokens(Adjustment):
    """Adds the number of tokens that take part in the batch, and ten times the number of rows with a signal."""

    def __call__(self, advantages, signal, rollouts):
        return advantages + rollouts.mask.sum() + 10 * (~torch.isnan(signal)).sum()


@dataclass(frozen=True)
class Double(Adjustment):
    def __call__(self, advantages, signal, rollouts):
        return 2 * advantages


def rollouts(rewards: list[float], groups: list[int]) -> Rollouts:
    rows = len(rewards)
    mask = torch.ones(rows, 2, dtype=torch.bool)
    return Rollouts(torch.tensor(groups), mask, torch.tensor(rewards)[:, None], torch.zeros(rows, 2))


def test_only_rows_that_take_part_are_seen():
    """Groups (0, 2, NaN), (1, 1): the NaN and the uniform group are out, so 4 tokens and 2 rows are seen: 4 + 20.

    A = -1 and 1; doubled first: -2 + 24 and 2 + 24; added first: 2 * (-1 + 24) and 2 * (1 + 24).
    """
    batch = rollouts([0.0, 2, math.nan, 1, 1], [0, 0, 0, 1, 1])
    for adjust, expected in (((Double(), AddTokens()), [22, 26]), ((AddTokens(), Double()), [46, 50])):
        objective = OnlineObjective(advantage=GroupCentred(), adjust=adjust, sampling=(InformativeGroups(),))
        assert objective.prepare(batch).advantages[:, 0].tolist() == [*expected, 0, 0, 0]


def test_adjustments_come_with_a_named_advantage():
    """An advantage taken from a recipe by name is all that the recipe does to it; a part is only itself."""
    source = OnlineObjective(advantage=GroupCentred(), adjust=(Double(),))
    assert recipes.build("grpo", advantage=source).adjust == (Double(),)
    assert recipes.build("grpo", advantage=source, adjust=()).adjust == ()
    assert recipes.build("grpo", advantage=GroupCentred()).adjust == ()
    adjusted = recipes.build("grpo", adjust=Double())
    assert adjusted.adjust == (Double(),)
    assert recipes.build("gdpo", adjust=adjusted).adjust == (Double(),)


def test_effective_weight_after_adjustment():
    """A = r - mean, doubled: a unit of the reward moves the advantage by 2; by 1 without the adjustment."""
    batch = rollouts([0.0, 2, 1, 5], [0, 0, 1, 1])
    for adjust, expected in (((), 1), ((Double(),), 2)):
        total, count = OnlineObjective(advantage=GroupCentred(), adjust=adjust).prepare(batch).metrics["weight.0"]
        assert (total / count).item() == pytest.approx(expected)
