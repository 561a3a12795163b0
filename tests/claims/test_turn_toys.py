"""Conversations of tabular turns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from prefopt import recipes
from scripts.claims.toys import Decisions, Scored, learn
from scripts.claims.turn_toys import learn_turns

SETTINGS = {"steps": 6, "group": 8, "learning_rate": 1.0}


def both(actions: torch.Tensor) -> torch.Tensor:
    """1 for two yes."""
    return actions.all(-1).double()


def test_all_at_once_is_the_plain_loop():
    """As many steps a batch as there are turns: the same numbers as `learn` with two updates."""
    ours = learn_turns(Decisions.of([0.4, 0.6]), both, lambda p: float(p.prod()), 3, order="all at once", **SETTINGS)
    objective = recipes.build("grpo", aggregate="rloo")
    plain = learn(objective, Decisions.of([0.4, 0.6]), lambda a: Scored(both(a)), [3], updates=2, **SETTINGS)
    np.testing.assert_allclose(ours, plain[0].prod(-1), rtol=1e-6)


@pytest.mark.parametrize("order", ["last first", "first first"])
def test_one_turn_has_one_order(order):
    """A single turn: one pass, A = x / sd, ratio 1: SGD on the mean of A times the score (a - p).

    Eight completions, k of them yes with reward 1: x / sd = (1 - k/8, -k/8) / sqrt(k (8 - k) / 56), and the logit moves
    by k/8 * A_yes * (1 - p) + (1 - k/8) * A_no * (0 - p) = k/8 * A_yes, as the advantages cancel beside p.
    """
    start = Decisions.of([0.5])
    settings = {**SETTINGS, "steps": 1}
    learn_turns(start, both, lambda p: float(p.prod()), 1, order=order, **settings)
    drawn = torch.rand((8, 1), generator=torch.Generator().manual_seed(1), dtype=torch.float64) < 0.5
    k = int(drawn.sum())
    assert 0 < k < 8
    expected = k / 8 * (1 - k / 8) / (k * (8 - k) / 56) ** 0.5
    assert start.logits.item() == pytest.approx(expected, rel=1e-6)
