"""Worked numbers of group relative alignment optimisation."""

from __future__ import annotations

import pytest
import torch

from prefopt import recipes
from prefopt.batch import PolicyOutputs
from tests.online.samples import rollouts

# Four own completions and the reference answer, one token each, so that a token's log-probability is the row's mean.
LOGPS = torch.tensor([-1.0, -2.0, -1.5, -1.2, -2.5], dtype=torch.float64)[:, None]
EXPERT = torch.tensor([False] * 4 + [True])


def objective_value(rewards, **settings):
    batch = rollouts(rewards, from_expert=EXPERT)
    objective = recipes.build("grao", **settings)
    logps = LOGPS.clone().requires_grad_()
    loss = objective.loss(batch, objective.prepare(batch), PolicyOutputs(logps))
    return -loss.item(), -torch.autograd.grad(loss, logps)[0][:, 0]


def test_statistics_over_own_completions():
    """A = (1, -1, -1, 1), A_y = 1: mean A l = (-1 + 2 + 1.5 - 1.2) / 4 = .325; 1.6 * .325 + .5 * -2.5 = -.73."""
    value, _ = objective_value([1.0, 0, 0, 1, 1], reference_in_group=False)
    assert value == pytest.approx(-0.7300, abs=5e-5)


def test_statistics_with_the_reference():
    """r = (1, 0, 0, 1, 1): mean .6, sd .4899: A = .8165 and -1.2247; mean A l = .6226 (own), mean A = -.2041.

    1.6 * .6226 + (.5 * .8165 + .6 * .2041) * -2.5 = -.3307.
    """
    value, _ = objective_value([1.0, 0, 0, 1, 1])
    assert value == pytest.approx(-0.3307, abs=5e-5)


@pytest.mark.parametrize("inside", [True, False])
def test_the_third_term_is_redundant(inside):
    """lam rescales own completions by 1 + lam, and the answer's weight is beta, plus lam / G if it is in the group."""
    _, with_it = objective_value([1.0, 0, 0, 1, 1], reference_in_group=inside)
    _, without = objective_value([1.0, 0, 0, 1, 1], reference_in_group=inside, lam=0.0)
    torch.testing.assert_close(with_it[:4], 1.6 * without[:4])
    factor = (0.5 + 0.6 / 4) / 0.5 if inside else 1.0
    assert with_it[4].item() == pytest.approx(factor * without[4].item(), rel=1e-6)


def test_own_completions_all_wrong():
    """In the group the answer has A_y = 2 and is imitated; judged by own completions alone, sd = 0 says nothing."""
    assert objective_value([0.0, 0, 0, 0, 1])[1][4] > 0
    assert (objective_value([0.0, 0, 0, 0, 1], reference_in_group=False)[1] == 0).all()
