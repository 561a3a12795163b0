"""VeRPO's weights, rewards and advantages on suites small enough to compute by hand."""

from __future__ import annotations

import math

import pytest
import torch

from reward_models.errors import DataError
from reward_models.verifiable.pass_matrix import pass_matrix
from reward_models.verifiable.verpo import VeRPO

NAN = math.nan
STAIRS = torch.tensor([[1.0, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]])
TURNS = torch.tensor([[[1.0, 0, 0], [1, 1, 1]], [[1, 0, 0], [1, 1, 0]]])


def near(found: torch.Tensor, expected: list) -> None:
    torch.testing.assert_close(found, torch.tensor(expected).double(), atol=5e-5, rtol=0, equal_nan=True)


def test_single_turn():
    """Passes 1111, 1110, 1100, 1000: q = (1, .75, .5, .25), std(q) = .2795, sigma .1398.

    Squared gaps of .25, .5, .75 over 2 sigma^2 = .0390625: 1.6, 6.4, 14.4; n_1 = 1 + e^-1.6 + e^-6.4 + e^-14.4
    = 1 + .2019 + .0017 = 1.2036, n_2 = 1 + 2 (.2019) + .0017 = 1.4055. w = e^{-2q}; w'_1 = .1353 / 1.2036 = .1124.
    R_1 = .1124 + .1588 + .2618 + .5039 = 1.0369. O_1 = .995, mean .24875. A_1 = .5485 + .7462 = 1.2948.
    """
    found = VeRPO()(STAIRS)
    near(found.tests.pass_rates, [1, 0.75, 0.5, 0.25])
    near(found.tests.difficulty, [0.1353, 0.2231, 0.3679, 0.6065])
    near(found.tests.density, [1.2036, 1.4055, 1.4055, 1.2036])
    near(found.tests.weights, [0.1124, 0.1588, 0.2618, 0.5039])
    near(found.turn_rewards, [1.0369, 0.5330, 0.2712, 0.1124])
    near(found.outcome, [0.995, 0, 0, 0])
    near(found.turn_advantages, [0.5485, 0.0446, -0.2172, -0.3759])
    near(found.trajectory_advantages, [0.74625, -0.24875, -0.24875, -0.24875])
    near(found.advantages, [1.2948, -0.2042, -0.4659, -0.6247])


def test_several_turns():
    """[100],[111] | [100],[110]: q = (4/4, 2/4, 1/4), sigma .1559; the solved attempt has two turns: .995^2 = .9900."""
    found = VeRPO()(TURNS)
    near(found.tests.pass_rates, [1, 0.5, 0.25])
    near(found.tests.weights, [0.1345, 0.2869, 0.4752])
    near(found.turn_rewards, [[0.1345, 0.8966], [0.1345, 0.4214]])
    near(found.outcome, [0.9900, 0])
    near(found.trajectory_advantages, [0.4950, -0.4950])
    near(found.advantages, [[0.2328, 0.9948], [-0.7572, -0.4704]])


def test_copies_of_a_test_count_about_once():
    """Ten copies of the first test: each has density 10.0989, and together they weigh .1340 (one alone .1124)."""
    copies = torch.cat([STAIRS[:, :1].expand(4, 10), STAIRS[:, 1:]], 1)
    tests = VeRPO()(copies).tests
    near(tests.density[:10], [10.0989] * 10)
    near(tests.weights[:10].sum(), 0.1340)


def test_equal_pass_rates_have_the_number_of_tests_as_density():
    """Two tests with q = 1/2 each: std 0, density 2, w' = e^-1 / 2 = .1839. One test alone: density 1."""
    near(VeRPO()(torch.tensor([[1.0, 0], [0, 1]])).tests.density, [2, 2])
    near(VeRPO()(torch.tensor([[1.0, 0], [0, 1]])).tests.weights, [0.1839, 0.1839])
    near(VeRPO()(torch.tensor([[1.0], [0]])).tests.density, [1])


def test_equal_submissions_say_nothing():
    """All alike, with rates that no float holds exactly: every advantage is exactly 0, passed or failed."""
    for row in ([1.0, 1, 1], [1, 0, 1], [0, 0, 0]):
        assert (VeRPO()(torch.tensor([row] * 7)).advantages == 0).all()


def test_a_test_that_nobody_passes():
    """q_2 = 0: it adds nothing to R, but its density counts: both tests are 1/2 apart, sigma 1/8, e^{-8} = .0003."""
    found = VeRPO()(torch.tensor([[1.0, 0], [0, 0]]))
    near(found.turn_rewards, [math.exp(-1) / (1 + math.exp(-8)), 0])
    assert found.outcome.tolist() == [0, 0]


def test_a_test_that_all_pass_is_removed_by_the_mean():
    """An easy test in front changes densities, but its constant in R cancels: advantages of equal rows stay equal."""
    found = VeRPO(alpha=0, density=False, anchor=False)(torch.tensor([[1.0, 1], [1, 0]]))
    assert found.advantages.tolist() == [0.5, -0.5]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"beta": 0}, [0.74625, -0.24875, -0.24875, -0.24875]),
        ({"anchor": False}, [0.5485, 0.0446, -0.2172, -0.3759]),
        ({"alpha": 0, "density": False, "sum_to_one": True, "anchor": False}, [0.375, 0.125, -0.125, -0.375]),
        ({"density": False, "anchor": False}, [0.6946, 0.0881, -0.2798, -0.5029]),
    ],
)
def test_ablations(settings, expected):
    """No turn advantage; no anchor; pass rate (1, .75, .5, .25) minus .625; difficulty only:

    w = (.13534, .22313, .36788, .60653), R = (1.33288, .72635, .35847, .13534), mean .63826.
    """
    near(VeRPO(**settings)(STAIRS).advantages, expected)


def test_division_by_the_deviation():
    """R of one test (a, 0): centred +-a/2, unbiased deviation a/sqrt(2): +-.7071, whatever a; O the same."""
    found = VeRPO(normalise=True, beta=2)(torch.tensor([[1.0], [0]]))
    near(found.advantages, [3 * 0.7071, -3 * 0.7071])


def test_a_lost_row_is_as_if_it_were_not_there():
    """A verdict that an infrastructure failure took: the attempt leaves q, means and advantages."""
    lost = torch.cat([STAIRS, torch.tensor([[1.0, NAN, 1, 1], [NAN] * 4])])
    found, without = VeRPO()(lost), VeRPO()(STAIRS)
    near(found.tests.weights, without.tests.weights.tolist())
    near(found.advantages, [*without.advantages.tolist(), NAN, NAN])
    near(found.outcome, [0.995, 0, 0, 0, NAN, NAN])


def test_padding_of_a_shorter_suite():
    """Columns without a verdict are no tests: weight 0, and a full pass is a pass of the others."""
    padded = torch.cat([STAIRS, torch.full((4, 2), NAN)], 1)
    found = VeRPO()(padded)
    near(found.advantages, VeRPO()(STAIRS).advantages.tolist())
    assert found.tests.weights[4:].tolist() == [0, 0]
    assert found.tests.pass_rates[4:].isnan().all()


def test_attempts_of_different_length():
    """One turn [10] and two turns [10],[11]: M_x = 3, q = (1, 1/3); outcomes 0 and .995^2.

    A turn that does not exist is NaN, and counts neither in q nor in the mean of R.
    """
    results = torch.tensor([[[1.0, 0], [NAN, NAN]], [[1, 0], [1, 1]]])
    found = VeRPO()(results)
    near(found.tests.pass_rates, [1, 1 / 3])
    near(found.outcome, [0, 0.990025])
    a, b = found.tests.weights.tolist()
    near(found.turn_advantages, [[-b / 3, NAN], [-b / 3, 2 * b / 3]])
    assert a > 0


def test_a_turn_that_was_not_judged_loses_the_attempt():
    """Two turns by the token mask, a verdict on the first alone: the whole attempt takes no part."""
    results = torch.tensor([[[1.0, 0], [NAN, NAN]], [[1, 0], [1, 1]], [[0, 0], [0, 0]]])
    found = VeRPO()(results, torch.tensor([2, 2, 2]))
    assert found.advantages[0].isnan().all()
    near(found.tests.pass_rates, [0.5, 0.25])


def test_several_problems_side_by_side():
    """Each problem's figures are those of the problem alone, whatever stands beside it; padding is NaN."""
    short = torch.full((4, 1, 4), NAN)
    short[:3, 0, :2] = torch.tensor([[1.0, 1], [1, 0], [0, 0]])
    found = VeRPO()(torch.stack([STAIRS[:, None], short]))
    near(found.advantages[0, :, 0], VeRPO()(STAIRS).advantages.tolist())
    near(found.advantages[1, :, 0], [*VeRPO()(short[:3, 0, :2]).advantages.tolist(), NAN])
    near(found.tests.weights[1], [*VeRPO()(short[:3, 0, :2]).tests.weights.tolist(), 0, 0])
    normalised = VeRPO(normalise=True)(torch.stack([STAIRS[:, None], short])).advantages
    near(normalised[1, :3, 0], VeRPO(normalise=True)(short[:3, 0, :2]).advantages.tolist())


def test_no_test_at_all():
    """A problem without tests judges nobody."""
    assert VeRPO()(torch.zeros(3, 0)).advantages.isnan().all()


def test_one_attempt_is_compared_with_nothing():
    assert VeRPO()(STAIRS[:1]).advantages.isnan().all()
    assert VeRPO()(torch.full((3, 2), NAN)).advantages.isnan().all()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: VeRPO(alpha=-1), ValueError, "alpha must be at least 0, not -1"),
        (lambda: VeRPO(gamma=0), ValueError, r"gamma must lie in \(0, 1\], not 0"),
        (lambda: VeRPO(gamma=1.1), ValueError, "gamma must lie in"),
        (lambda: VeRPO(anchor=False, beta=0), ValueError, "leaves no advantage"),
        (lambda: VeRPO()(torch.zeros(3)), DataError, r"results has shape \(3,\)"),
        (lambda: VeRPO()(torch.tensor([[0.5]])), DataError, "results must be 1"),
        (lambda: pass_matrix([[True, 2]]), DataError, "row 1, test 2: the verdict 2"),
    ],
)
def test_refusals(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_pass_matrix():
    """Ragged rows are padded with NaN; a program without any verdict is a row of NaN."""
    found = pass_matrix([[True, False, None], [True], None], width=4)
    expected = torch.tensor([[1, 0, NAN, NAN], [1, NAN, NAN, NAN], [NAN] * 4])
    torch.testing.assert_close(found, expected, equal_nan=True)
    assert pass_matrix([]).shape == (0, 0)
