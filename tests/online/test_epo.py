"""Worked numbers of entropy-regularised policy optimisation."""

from __future__ import annotations

import pytest
import torch

from prefopt import recipes
from prefopt.batch import PolicyOutputs
from prefopt.online.regularise.entropy_band import EntropyBand, phase_weight, released_phase_weight
from tests.online.samples import rollouts

ENTROPIES = torch.tensor([[0.3, 1.0, 1.6]], dtype=torch.float64)
BAND = EntropyBand(low=0.5, high=1.5)
HISTORY = {"total": torch.tensor(1.8, dtype=torch.float64), "steps": torch.tensor(2)}


def penalty(part, entropies, state):
    zeros = torch.zeros_like(entropies)
    return part(PolicyOutputs(zeros, {"entropies": entropies}), rollouts([1.0], lengths=[3]), zeros, zeros, state=state)


def test_band():
    """History (1.0, .8): Hbar = .9, band .45 to 1.35; H = .3 gives .15, 1 gives 0, 1.6 gives .25.

    L_smooth = .1 * (.15 + .25) / 3 = .0133, L_H = 2.9 / 3 = .9667.
    """
    outside = BAND.outside(ENTROPIES, torch.tensor(0.9, dtype=torch.float64))
    assert outside[0].tolist() == pytest.approx([0.15, 0, 0.25])
    assert 0.1 * outside.mean().item() == pytest.approx(0.0133, abs=5e-5)
    assert ENTROPIES.mean().item() == pytest.approx(0.9667, abs=5e-5)


def test_penalty():
    """lambda = 1e-3, beta_2 = 1 + e^(-6/75) = 1.9231: mean penalty = -1e-3 * (.9667 - 1.9231 * .01333)."""
    found = penalty(BAND, ENTROPIES, HISTORY).mean().item()
    assert found == pytest.approx(-1e-3 * (0.96667 - 1.9231 * 0.013333), abs=1e-8)


def test_first_step_has_no_history():
    """No Hbar, no penalty: -lambda H = -1e-3 * (.3, 1, 1.6)."""
    assert penalty(BAND, ENTROPIES, None)[0].tolist() == pytest.approx([-3e-4, -1e-3, -1.6e-3])


@pytest.mark.parametrize(("step", "expected"), [(1, 1.9608), (75, 1.0498), (150, 1.0025)])
def test_phase_weight(step, expected):
    """K = 150: 1 + exp(-3 k / 75)."""
    assert phase_weight(step, 150, 3.0) == pytest.approx(expected, abs=5e-5)


def test_released_phase_weight():
    """p = .25: 1 - .2 (1 - e^-.5) = .9213; p = 1: .8 e^-3 = .0398."""
    assert released_phase_weight(25, 100) == pytest.approx(0.9213, abs=5e-5)
    assert released_phase_weight(100, 100) == pytest.approx(0.0398, abs=5e-5)


@pytest.mark.parametrize("released", [False, True])
def test_released_penalty_has_no_gradient(released):
    """Beyond the band the paper's gradient is -lambda (1 - beta alpha) above and -lambda (1 + beta alpha) below;
    the released one is that of the bonus alone, -lambda everywhere."""
    entropies = ENTROPIES.clone().requires_grad_()
    part = EntropyBand(low=0.5, high=1.5, released=released)
    found = torch.autograd.grad(penalty(part, entropies, HISTORY).sum(), entropies)[0][0].tolist()
    pull = 0 if released else phase_weight(2, 150, 3.0) * 0.1
    assert found == pytest.approx([-1e-3 * (1 + pull), -1e-3, -1e-3 * (1 - pull)])


def test_history_grows_by_the_step():
    """Entropies (1, 3) of the tokens, padding left out: the step's mean is 2."""
    batch = rollouts([1.0, 0.0], lengths=[1, 1], entropies=torch.tensor([[1.0], [3.0]]))
    objective = recipes.build("epo")
    state = objective.init_state()
    state = objective.update(state, objective.prepare(batch, state).statistics)
    assert state["regularise.0/total"].item() == 2
    assert state["regularise.0/steps"].item() == 1
