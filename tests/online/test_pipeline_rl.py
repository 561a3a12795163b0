"""Worked numbers of PipelineRL's loss and staleness bookkeeping."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from prefopt import recipes
from prefopt.online.sampling import MaxLag, weight_lag
from tests.online.samples import advantages, rollouts
from tests.online.test_gates import loss_and_gradient


def test_advantages():
    """r = (1, 0, 0, 1): 1 - 1/3 = .6667 and -.6667; over the unbiased deviation .57735 + 1e-4: +-1.1545."""
    batch = rollouts([1.0, 0, 0, 1])
    expected = torch.tensor([1.0, -1, -1, 1])
    torch.testing.assert_close(advantages("pipeline_rl", batch)[:, 0], expected * 2 / 3)
    scaled = advantages("pipeline_rl", batch, normalise=True)[:, 0]
    torch.testing.assert_close(scaled, expected * 1.1545, atol=5e-5, rtol=0)


def test_weights():
    """rho = (.9, 1.01, 1.5): multipliers (.9, 1.01, 1.02), whatever the sign; the weight of a token is 1 / B."""
    objective = recipes.build("pipeline_rl")
    log_ratios = [math.log(rho) for rho in (0.9, 1.01, 1.5)]
    _, gradient = loss_and_gradient(objective, log_ratios, -1.0, torch.ones(1, 3))
    assert gradient == pytest.approx([0.9, 1.01, 1.02])
    prepared = objective.prepare(rollouts([0.0, 1.0], lengths=[1, 3]))
    assert prepared.weights.tolist() == [[0.5, 0, 0], [0.5, 0.5, 0.5]]


def test_lag():
    """Newest version 10, max_lag 2: rows begun with 8 and 9 stay (lags 2 and 1), 7 goes; their mean lag is 2."""
    lag = weight_lag(torch.tensor([8, 9, 7, 10]), newest=10)
    assert lag.tolist() == [2, 1, 3, 0]
    batch = rollouts([0.0, 1, 1, 0], weight_lag=lag)
    prepared = recipes.build("pipeline_rl", max_lag=2).prepare(batch)
    assert (prepared.weights[:, 0] > 0).tolist() == [True, True, False, True]
    total, rows = prepared.metrics["lag"]
    assert (total / rows).item() == 1.5
    assert prepared.metrics["lag_largest"][0] == 3
    assert prepared.metrics["lag_dropped"] == (1, 4)
    with pytest.raises(ValueError, match="stamped with weight version 11, newest is 10"):
        weight_lag(torch.tensor([8, 11]), newest=10)


def test_a_batch_is_as_old_as_its_oldest_row():
    """The released filter: one row of lag 3 takes the whole batch out; infinity only logs."""
    batch = rollouts([0.0, 1], weight_lag=torch.tensor([0, 3]))
    whole = recipes.build("pipeline_rl", max_lag=2, whole_batch=True).prepare(batch)
    assert (whole.weights == 0).all()
    logged = recipes.build("pipeline_rl", max_lag=math.inf).prepare(batch)
    assert logged.weights[:, 0].tolist() == [0.5, 0.5]
    assert logged.metrics["lag_largest"][0] == 3
    with pytest.raises(ValueError, match="not negative"):
        MaxLag(-1)


def test_options():
    """Cut completions, groups without signal, and negative advantages each leave what they say.

    Groups (1, 0) and (1, 1), the second row cut: it still counts in the baseline of the first, 1 - 0 = 1.
    """
    truncated = torch.tensor([False, True, False, False])
    batch = rollouts([1.0, 0, 1, 1], groups=[0, 0, 1, 1], truncated=truncated)
    finished = recipes.build("pipeline_rl", finished_only=True).prepare(batch)
    assert finished.weights[:, 0].tolist() == pytest.approx([1 / 3, 0, 1 / 3, 1 / 3])
    assert finished.advantages[0, 0] == 1
    informative = recipes.build("pipeline_rl", informative_only=True).prepare(batch)
    assert informative.weights[:, 0].tolist() == [0.5, 0.5, 0, 0]
    positive = recipes.build("pipeline_rl", positive_only=True).prepare(batch)
    assert positive.weights[:, 0].tolist() == [0.25, 0, 0, 0]


def test_recorded_log_probabilities_may_mix_versions():
    """Each token has the ratio to what it was sampled with: three versions in one completion."""
    objective = recipes.build("pipeline_rl")
    batch = rollouts([0.0, 1.0], lengths=[3, 3])
    batch = dataclasses.replace(batch, logps=torch.tensor([[-1.0, -0.9, -0.8]] * 2))
    ratio = objective.ratio(torch.full((2, 3), -1.0), batch.logps, batch.mask)
    assert ratio[0].tolist() == pytest.approx([1.0, math.exp(-0.1), math.exp(-0.2)])
