"""Worked numbers of 1-shot training: which prompt, and what acts once it is solved."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from prefopt import recipes
from prefopt.batch import PolicyOutputs
from prefopt.online.sampling import accuracy_spread
from tests.online.samples import rollouts


def test_selection():
    """Histories (0, .25, .5, .75), (.5 x4), (0, 0, 1, 1): deviations .2795, 0, .5, so that the third is chosen.

    First: mean .375, squares (.1406 + .0156) * 2 / 4 = .0781, root .2795.
    """
    spread = accuracy_spread(torch.tensor([[0, 0.25, 0.5, 0.75], [0.5] * 4, [0.0, 0, 1, 1]]))
    assert spread.tolist() == pytest.approx([0.2795, 0, 0.5], abs=5e-5)
    assert spread.argmax() == 2


def test_selection_with_gaps():
    """An epoch without a score is left out: (0, NaN, 1) has deviation .5; no score at all gives NaN."""
    spread = accuracy_spread(torch.tensor([[0, math.nan, 1], [math.nan] * 3]))
    assert spread[0] == 0.5
    assert torch.isnan(spread[1])


def test_solved_prompts_leave_entropy_and_kl():
    """All rewards 1: advantages 0, all rows stay. H = 2, d = log ref - log pi = .5: loss = 1e-3 (e^.5 - 1.5 - 2).

    The entropy's gradient is -1e-3 / 4 a row of one token.
    """
    objective = recipes.build("one_shot")
    batch = rollouts([1.0] * 4)
    batch = dataclasses.replace(batch, extras={"ref_logps": torch.full((4, 1), 0.5)})
    entropies = torch.full((4, 1), 2.0, requires_grad=True)
    outputs = PolicyOutputs(torch.zeros(4, 1), {"entropies": entropies})
    prepared = objective.prepare(batch)
    assert prepared.weights[:, 0].tolist() == [0.25] * 4
    loss = objective.loss(batch, prepared, outputs)
    assert loss.item() == pytest.approx(1e-3 * (math.exp(0.5) - 1.5 - 2), rel=1e-5)
    assert torch.autograd.grad(loss, entropies)[0][:, 0].tolist() == pytest.approx([-1e-3 / 4] * 4)


def test_entropy_alone_is_the_control():
    """Coefficient on, everything else off: no reference is needed."""
    assert recipes.build("one_shot", beta=0.0).needs == {"policy.entropies"}
    assert recipes.build("one_shot", beta=0.0, entropy=0.0).needs == frozenset()
