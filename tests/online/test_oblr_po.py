"""Worked numbers of the baseline of least variance, and of the learning rate that goes with it."""

from __future__ import annotations

import pytest
import torch

from prefopt.online.step_size import StepSize, gradient_noise, squared_score_norms
from tests.online.samples import advantages, rollouts

NORMS = torch.tensor([1.0, 4, 1, 2])
BATCH = rollouts([1.0, 0, 0, 1], squared_gradient_norms=NORMS)


def test_baseline():
    """n = (1, 4, 1, 2), r = (1, 0, 0, 1): b = (1 + 2) / 8 = 0.375, where the plain mean is 0.5."""
    assert advantages("oblr_po", BATCH)[:, 0].tolist() == pytest.approx([0.625, -0.375, -0.375, 0.625])


def test_leave_one_out():
    """b = (2/7, 3/4, 3/7, 1/6): the sums 3 and 8 without the row's own n r and n."""
    baseline = BATCH.rewards[:, 0] - advantages("oblr_po", BATCH, leave_one_out=True)[:, 0]
    assert baseline.tolist() == pytest.approx([0.2857, 0.75, 0.4286, 0.1667], abs=5e-5)


def test_equal_norms_are_the_known_baselines():
    """Equal norms: the mean, and RLOO. Norms of 0 too, where nothing else is to be had."""
    for norm in (3.0, 0.0):
        batch = rollouts([1.0, 0, 0, 2], squared_gradient_norms=torch.full((4,), norm))
        torch.testing.assert_close(advantages("oblr_po", batch), advantages("dr_grpo", batch))
        torch.testing.assert_close(advantages("oblr_po", batch, leave_one_out=True), advantages("rloo", batch))


def test_variance_of_a_bandit():
    """Softmax over six arms, logits (3, 0, 0, 0, -1, -1), r = (0, 1, 0, 0, 1, 0.5), enumerated.

    g_i = e_i - p. Total variance E ||(r - b) g||^2 - ||E r g||^2: 0.0963 without a baseline, 0.0834 with the mean
    reward, 0.0554 with E[||g||^2 r] / E[||g||^2].
    """
    p = torch.tensor([3.0, 0, 0, 0, -1, -1], dtype=torch.float64).softmax(0)
    r = torch.tensor([0, 1, 0, 0, 1, 0.5], dtype=torch.float64)
    g = torch.eye(6, dtype=torch.float64) - p
    norms = (g**2).sum(1)
    mean_gradient = ((p * r) @ g).square().sum()

    def variance(baseline: torch.Tensor | float) -> float:
        return ((p * (r - baseline) ** 2 * norms).sum() - mean_gradient).item()

    best = (p * norms * r).sum() / (p * norms).sum()
    assert [variance(0.0), variance((p * r).sum()), variance(best)] == pytest.approx([0.0963, 0.0834, 0.0554], abs=5e-5)


def test_score_norm():
    """p_t = 0.5 of (0.5, 0.3, 0.2): 1 - 1 + 0.25 + 0.09 + 0.04 = 0.38 a token; two of three count."""
    found = squared_score_norms(torch.full((1, 3), 0.5), torch.full((1, 3), 0.38), torch.tensor([[True, True, False]]))
    assert found.item() == pytest.approx(0.76)


def test_noise_and_factor():
    """A = (0.625, -0.375), n = (1, 4), S = 0.1: E = (0.390625 + 0.5625) / 2 = 0.4766, V = 0.3766; factor 0.2098."""
    signal = torch.tensor(0.1)
    noise = gradient_noise(signal, torch.tensor([0.625, -0.375]), torch.tensor([1.0, 4.0]))
    assert noise.item() == pytest.approx(0.3766, abs=5e-5)
    size = StepSize()
    assert size.factor(size.update(size.init_state(), signal, noise)) == pytest.approx(0.2098, abs=5e-5)


def test_running_means_and_bounds():
    """S = 0.04, V = 0.16: 0.2. Then S = 0, V = 1 with momentum 0.9: 0.036 / (0.036 + 0.244). The bounds hold."""
    size = StepSize()
    assert size.factor(size.init_state()) == 1
    state = size.update(size.init_state(), torch.tensor(0.04), torch.tensor(0.16))
    assert size.factor(state) == pytest.approx(0.2)
    state = size.update(state, torch.tensor(0.0), torch.tensor(1.0))
    assert size.factor(state) == pytest.approx(0.036 / 0.28)
    for _ in range(9):
        state = size.update(state, torch.tensor(0.0), torch.tensor(1.0))
    assert size.factor(state) == 0.1
