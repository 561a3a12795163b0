"""Worked numbers of heterogeneous adaptive policy optimisation."""

from __future__ import annotations

import pytest
import torch

from prefopt import recipes
from prefopt.batch import PolicyOutputs
from prefopt.online.entropy_score import EntropyScale, adaptive_temperature
from prefopt.online.gate import EntropyScoredClip
from tests.online.samples import advantages, rollouts

ENTROPIES = torch.tensor([0.1, 0.2, 0.4, 0.8, 1.6])
SCALE = EntropyScale.of(ENTROPIES, torch.ones(5, dtype=torch.bool), 0.5)


def test_score():
    """Pivot log .4; log-entropies lie log 2 apart: h = (-1, -1/2, 0, 1/2, 1); the released score (1, .5, 0, .5, 1)."""
    assert SCALE.score(ENTROPIES).tolist() == pytest.approx([-1, -0.5, 0, 0.5, 1])
    assert SCALE.score(ENTROPIES, unsigned=True).tolist() == pytest.approx([1, 0.5, 0, 0.5, 1])


def test_temperature():
    """T (1 + .05 h); entropies beyond the earlier batch's are cut off; plain before the first batch."""
    found = adaptive_temperature(ENTROPIES, SCALE)
    assert found.tolist() == pytest.approx([0.95, 0.975, 1, 1.025, 1.05])
    assert adaptive_temperature(torch.tensor([50.0, 0.0]), SCALE, 0.6).tolist() == pytest.approx([0.63, 0.57])
    assert adaptive_temperature(ENTROPIES, None, 0.6).tolist() == pytest.approx([0.6] * 5)


def test_bounds():
    """e_low = .2 (1 - h) for h <= 0, e_high = .2 (1 + h) for h > 0."""
    low, high = EntropyScoredClip()._bounds(torch.tensor([-1.0, -0.5, 0, 0.5, 1]))
    assert low.tolist() == pytest.approx([0.4, 0.3, 0.2, 0.2, 0.2])
    assert high.tolist() == pytest.approx([0.2, 0.2, 0.2, 0.3, 0.4])


def test_redistribution():
    """h = -1/2: neutral is (.85, 1.1), where A shrinks to A/2. h = 1/2: neutral (.9, 1.15), outside of it 1.5 A."""
    gate = EntropyScoredClip()
    ratio = torch.tensor([0.84, 0.86, 1.0, 1.09, 1.11])
    found = gate.redistributed(ratio, torch.ones(5), torch.full((5,), -0.5))
    assert found.tolist() == [1, 0.5, 0.5, 0.5, 1]
    found = gate.redistributed(ratio + 0.05, torch.ones(5), torch.full((5,), 0.5))
    assert found.tolist() == [1.5, 1, 1, 1, 1.5]


def test_surrogate():
    """h = 1, A = 1, rho = 1.5: clip at 1.4, A' = 2: 2.8. h = -1, A = -1, rho = .5: clip at .6: outside neutral, -.6.

    h = 0, A = -1, rho = 20: dual clip at -10.
    """
    ratio, score = torch.tensor([1.5, 0.5, 20.0]), torch.tensor([1.0, -1.0, 0.0])
    found = EntropyScoredClip()(ratio, torch.tensor([1.0, -1.0, -1.0]), ratio.log(), surveyed=score)
    assert found.tolist() == pytest.approx([2.8, -0.6, -10.0])


def test_survey_uses_tokens_that_take_part():
    """The scores of a row of five tokens are those above; entropies of a group that is left out change nothing."""
    batch = rollouts([1.0, 0.0, 1.0, 1.0], [0, 0, 1, 1], [5, 5, 5, 5])
    entropies = torch.stack([ENTROPIES, ENTROPIES, 100 * ENTROPIES, ENTROPIES])
    objective = recipes.build("hapo", quantile=0.5)
    outputs = PolicyOutputs(torch.zeros(4, 5), {"entropies": entropies})
    refined = objective.refine(batch, objective.prepare(batch), outputs)
    assert refined.carried["gate"][0].tolist() == pytest.approx([-1, -0.5, 0, 0.5, 1])


def test_token_average():
    """r = 1 with 2 tokens, r = 0 with 6: mean 1/4, sd sqrt(3/16) = .4330: A = (.75, -.25) / .4330."""
    found = advantages("hapo", rollouts([1.0, 0.0], lengths=[2, 6]))
    assert found[0, 0].item() == pytest.approx(1.7320, abs=1e-4)
    assert found[1, 0].item() == pytest.approx(-0.5774, abs=1e-4)
    assert found.sum().item() == pytest.approx(0, abs=1e-5)


def test_token_average_falls_back():
    """One short success of length 1 beside a failure of length 30: z = sqrt(30) = 5.48 reaches 5, so +-.7071."""
    found = advantages("hapo", rollouts([1.0, 0.0], lengths=[1, 30]))
    assert found[:, 0].tolist() == pytest.approx([0.7071, -0.7071], abs=1e-4)
    graded = advantages("hapo", rollouts([101.0, 100.0], lengths=[2, 6]))
    assert graded[0, 0].item() == pytest.approx(1.7320, abs=1e-4)
