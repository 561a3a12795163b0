from __future__ import annotations

import pytest
import torch

from prefopt import recipes
from prefopt.errors import UserError
from prefopt.offline import OfflineObjective
from prefopt.trainers.pairs.statistics import needed_statistics, pair_outputs


def test_sides_are_the_halves_of_the_batch():
    found = {"logps": torch.arange(8.0).view(4, 2), "max_logps": -torch.arange(8.0).view(4, 2)}
    outputs = pair_outputs(found)
    assert outputs.chosen_logps.tolist() == [[0, 1], [2, 3]]
    assert outputs.rejected_logps.tolist() == [[4, 5], [6, 7]]
    assert outputs.extras["rejected_max_logps"].tolist() == [[-4, -5], [-6, -7]]


def test_statistics_that_recipes_need():
    assert needed_statistics(recipes.build("dpo")) == set()
    assert needed_statistics(recipes.build("wpo")) == {"log_sum_sq_probs"}
    assert needed_statistics(recipes.build("wpo", alignment="greedy")) == {"max_logps"}


def test_needs_that_the_trainer_does_not_supply_are_named():
    from dataclasses import dataclass

    from prefopt.offline.slots import Regulariser

    @dataclass(frozen=True)
    class OnHiddenStates(Regulariser):
        needs = frozenset({"chosen_hidden_states"})

    with pytest.raises(UserError, match="does not supply chosen_hidden_states"):
        needed_statistics(OfflineObjective(regularise=(OnHiddenStates(),)))
