"""Worked numbers of trust region preference approximation."""

from __future__ import annotations

import pytest
import torch

from prefopt import recipes
from prefopt.batch import PolicyOutputs
from tests.online.samples import rollouts


def loss(scores, levels, groups=None, trust_region=0.0, old=None, **settings):
    """Loss at mean log-ratios ``scores`` to a reference whose log-probabilities are 0."""
    logps = torch.tensor(scores)[:, None]
    extras = {"levels": torch.tensor(levels), "ref_logps": torch.zeros_like(logps)}
    batch = rollouts([0.0] * len(scores), groups, logps=logps if old is None else torch.tensor(old)[:, None], **extras)
    objective = recipes.build("trpa", trust_region=trust_region, **settings)
    return objective.loss(batch, objective.prepare(batch), PolicyOutputs(logps)).item()


def test_worked_example():
    """s = (.2, -.1, .05), levels (1, 2, 4), beta .1, kappa 2.5 where the better is at level 1.

    h = .25 * .3 = .075, .25 * .15 = .0375, .1 * -.15 = -.015; mean of log(1 + e^-h) = (.6563 + .6746 + .7007) / 3.
    """
    assert loss([0.2, -0.1, 0.05], [1, 2, 4]) == pytest.approx(0.6772, abs=5e-5)


def test_without_pairs():
    """Both wrong (level 2), s = (.2, -.1): mean of -log sigmoid(-s) = (.7981 + .6444) / 2 = .7213. No beta."""
    assert loss([0.2, -0.1], [2, 2]) == pytest.approx(0.7213, abs=5e-5)
    assert loss([-0.2, 0.1], [1, 1]) == pytest.approx(0.7213, abs=5e-5)


def test_pairs_stay_within_a_prompt():
    """Levels (1, 1, 2, 2) in two prompts of equal levels: no pair, so the loss is that of single completions.

    s = 0 gives log 2 either way; s = (1, 1, -1, -1) gives log(1 + e^-1) = .3133 for all four.
    """
    assert loss([1.0, 1, -1, -1], [1, 1, 2, 2], [0, 0, 1, 1]) == pytest.approx(0.3133, abs=5e-5)


def test_mixed_prompts_have_more_say():
    """Prompt 0 with levels (1, 2, 2) has two pairs, prompt 1 with (1, 2) one: all three count the same.

    s = (1, 0, 0 | 0, 1): h = .25, .25, -.25: (2 * .5759 + .8259) / 3 = .6593.
    """
    assert loss([1.0, 0, 0, 0, 1], [1, 2, 2, 1, 2], [0, 0, 0, 1, 1]) == pytest.approx(0.6593, abs=5e-5)


def test_trust_region():
    """d = log pi_old - log pi = -.1: e^d - d - 1 = .004837. A gap of 50 is bounded at 10."""
    assert loss([0.1, 0.1], [1, 2], trust_region=1.0, old=[0.0, 0.0]) - loss([0.1, 0.1], [1, 2]) == pytest.approx(
        0.004837, abs=1e-6
    )
    both = [loss([0.0, 0.0], [1, 2], trust_region=c, old=[50.0, 50.0]) for c in (1.0, 0.0)]
    assert both[0] - both[1] == pytest.approx(10.0)


def test_only_the_order_of_levels_matters():
    """Levels (1, 2, 4) and (1, 3, 9) give the same loss; wins are (2, 0, -2) / 2."""
    assert loss([0.2, -0.1, 0.05], [1, 2, 4]) == loss([0.2, -0.1, 0.05], [1, 3, 9])
    batch = rollouts([0.0] * 3, levels=torch.tensor([1, 3, 9]), ref_logps=torch.zeros(3, 1))
    assert recipes.build("trpa").prepare(batch).advantages[:, 0].tolist() == [1, 0, -1]
