"""Worked numbers of Beta normalisation."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.integrate import quad
from scipy.stats import beta as beta_distribution

from prefopt import recipes
from prefopt.online.advantage.beta_normalised import beta_density, fitted_normaliser
from tests.online.samples import advantages, rollouts

QUARTERS = [1.0, 0, 0, 0, 1, 1, 0, 0, 1, 1, 1, 0]
GROUPS = [0] * 4 + [1] * 4 + [2] * 4


def test_worked_numbers():
    """Pass rates (1/4, 1/2, 3/4): mean 1/2, variance 1/16, c = 0.25 / 0.0625 - 1 = 3, a = b = 1.5, alpha = beta = 1.5.

    The density of Beta(1.5, 1.5) is sqrt(p (1 - p)) / (pi / 8): at 1/4 1.1027, weight 0.9069; at 1/2 4 / pi, weight
    0.7854. At 1/4: 0.9069 * 0.75 = 0.6802 and 0.9069 * -0.25 = -0.2267; mirrored at 3/4.
    """
    alpha, beta = fitted_normaliser(torch.tensor([0.25, 0.5, 0.75]))
    assert (alpha.item(), beta.item()) == pytest.approx((1.5, 1.5))
    weights = 1 / beta_density(torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64), alpha, beta)
    assert weights.tolist() == pytest.approx([0.9069, 0.7854, 0.9069], abs=5e-5)
    found = advantages("bnpo", rollouts(QUARTERS, GROUPS))[:, 0].tolist()
    assert found[:4] == pytest.approx([0.6802] + [-0.2267] * 3, abs=5e-5)
    assert found[8:] == pytest.approx([0.2267] * 3 + [-0.6802], abs=5e-5)


def test_one_group_is_dr_grpo():
    """One group tells nothing of the spread of pass rates: Beta(1, 1) has density 1 everywhere, A = r - mean."""
    batch = rollouts([1.0, 0, 0, 1, 1, 0, 0, 0])
    assert torch.equal(advantages("bnpo", batch), advantages("dr_grpo", batch))


def test_beta_of_one_and_a_half_is_the_deviation():
    """With alpha = beta = 1.5 the weight is (pi / 8) / sqrt(p (1 - p)): GRPO with the population's deviation."""
    batch = rollouts(QUARTERS, GROUPS)
    expected = math.pi / 8 * advantages("grpo", batch, ddof=0, eps=0.0)
    torch.testing.assert_close(advantages("bnpo", batch), expected)


def test_alike_groups():
    """Two groups with one pass rate have variance 0, where the moments would give c = inf: the weight is 1."""
    batch = rollouts([1.0, 0, 0, 1], [0, 0, 1, 1])
    assert advantages("bnpo", batch)[:, 0].tolist() == [0.5, -0.5, -0.5, 0.5]


def test_solved_and_hopeless_groups():
    """Pass rates 0, 1/2, 1: mean 1/2, variance 1/4, c = 0, a = b = 0: Beta(1, 1). Uniform groups give exactly 0.

    Pass rates 0, 1/2, 1/2, 1: variance 1/6, c = 1/2, a = b = 1/4: alpha = 13/12, density 0 at 0 and 1, where A = 0.
    """
    assert advantages("bnpo", rollouts([0.0, 0, 1, 0, 1, 1], [0, 0, 1, 1, 2, 2]))[:, 0].tolist() == [
        0, 0, 0.5, -0.5, 0, 0,
    ]  # fmt: skip
    found = advantages("bnpo", rollouts([0.0, 0, 1, 0, 1, 0, 1, 1], [0, 0, 1, 1, 2, 2, 3, 3]))[:, 0]
    weight = 1 / beta_distribution.pdf(0.5, 13 / 12, 13 / 12)
    assert found.tolist() == pytest.approx([0, 0, *[weight / 2, -weight / 2] * 2, 0, 0])


def test_rewards_of_another_range():
    """Rewards -1 and 1 are mapped to 0 and 1."""
    scaled = [2 * reward - 1 for reward in QUARTERS]
    torch.testing.assert_close(
        advantages("bnpo", rollouts(scaled, GROUPS), reward_min=-1.0), advantages("bnpo", rollouts(QUARTERS, GROUPS))
    )
    with pytest.raises(ValueError, match=r"a reward of -1 lies outside \[0, 1\], which BetaNormalised reads as pass"):
        advantages("bnpo", rollouts(scaled, GROUPS))


def test_decomposition():
    """Two rewards: the mean of the estimates of each alone; a constant reward halves the other's and adds nothing."""
    other = [1.0, 0, 1, 0, 0, 0, 1, 0, 1, 0, 1, 1]
    both = advantages("bnpo", rollouts(list(zip(QUARTERS, other, strict=True)), GROUPS), decompose=True)
    alone = [advantages("bnpo", rollouts(column, GROUPS)) for column in (QUARTERS, other)]
    torch.testing.assert_close(both, (alone[0] + alone[1]) / 2)
    constant = advantages("bnpo", rollouts([(reward, 1.0) for reward in QUARTERS], GROUPS), decompose=True)
    torch.testing.assert_close(constant, alone[0] / 2)


def test_decomposition_reads_each_reward_on_its_own_range():
    """Two rewards that add up to 2 are out of range as a sum and in range one by one."""
    batch = rollouts([(1.0, 1.0), (0.0, 0.0)])
    with pytest.raises(ValueError, match="a reward of 2"):
        recipes.build("bnpo").prepare(batch)
    assert advantages("bnpo", batch, decompose=True)[:, 0].tolist() == [0.5, -0.5]


def test_minimum_variance_quantity():
    """J(f) = integral p (1 - p) Beta(p; 2, 5) / f(p)^2 dp: 0.0947 for BNPO, 0.1786 flat, 0.1542 for Beta(1.5, 1.5).

    Flat by hand: E[p] - E[p^2] = 2/7 - 6/56 = 0.1786. BNPO is Beta(1 + 2/3, 1 + 5/3).
    """

    def variance(alpha: float, beta: float) -> float:
        def integrand(p: float) -> float:
            return p * (1 - p) * beta_distribution.pdf(p, 2, 5) / beta_distribution.pdf(p, alpha, beta) ** 2

        return quad(integrand, 0, 1)[0]

    assert [variance(5 / 3, 8 / 3), variance(1, 1), variance(1.5, 1.5)] == pytest.approx(
        [0.0947, 0.1786, 0.1542], abs=5e-5
    )
