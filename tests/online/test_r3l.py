"""Worked numbers of reflect-then-retry."""

from __future__ import annotations

import pytest
import torch

from prefopt import recipes
from tests.online.samples import advantages, rollouts

NONE = torch.zeros(4, dtype=torch.int64)


def batch(rewards, groups=None, turns=None, retry=None):
    rows = len(rewards)
    turn_ids = torch.zeros(rows, 1, dtype=torch.int64) if turns is None else turns
    retry = torch.zeros(rows, dtype=torch.int64) if retry is None else torch.tensor(retry)
    return rollouts(rewards, groups, [turn_ids.shape[1]] * rows, turn_ids=turn_ids, retry_from_step=retry)


def test_baseline_and_amplification():
    """First (.2, .6), second (.9, 1): b = .675; (-.475, -.075, .225, .325), positives times 3.

    Released: the solved one has a flat 1.
    """
    attempts = batch([0.2, 0.6, 0.9, 1.0])
    paper = advantages("r3l", attempts)[:, 0].tolist()
    assert paper == pytest.approx([-0.475, -0.075, 0.675, 0.975])
    released = advantages("r3l", attempts, released=True)[:, 0].tolist()
    assert released == pytest.approx([-0.475, -0.075, 0.675, 1.0])


def test_solved_groups():
    """All solved: the paper is silent, the released code still imitates."""
    solved = batch([1.0, 1.0])
    assert (advantages("r3l", solved) == 0).all()
    assert (advantages("r3l", solved, released=True) == 1).all()


def test_a_row_of_its_own_is_imitated():
    """A reflection is a group of one with advantage 1; a row whose companion has no score is left out."""
    found = recipes.build("r3l").prepare(batch([0.4, float("nan"), 0.9], [0, 0, 1]))
    assert found.advantages[:, 0].tolist() == [0, 0, 1]
    assert (found.weights[:2] == 0).all()


def test_pivotal_credit():
    """The retry from turn 1 and its parent count their last token, a third attempt both: 4 tokens, 1 / (2 * 4) each."""
    turns = torch.tensor([[0, 1], [0, 1], [0, 1]])
    weights = recipes.build("r3l").prepare(batch([0.0, 1.0, 0.5], turns=turns, retry=[1, 1, 0])).weights
    assert weights.tolist() == [[0, 1 / 8], [0, 1 / 8], [1 / 8, 1 / 8]]
