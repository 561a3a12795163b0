"""Worked numbers of the corrections between sampling engine and trainer."""

from __future__ import annotations

import math

import pytest
import torch

from prefopt import recipes
from prefopt.batch import PolicyOutputs, Rollouts
from prefopt.online.sampler_gap import effective_sample_size, sampler_gap
from prefopt.online.token_weight import SamplerImportance, SamplerRejection

GAP = [0.2, -0.1, 0.8]


def batch_of(*gaps: list[float], rewards: tuple[float, ...] = ()) -> Rollouts:
    """Rows whose trainer's log-probability is -1 and the sampler's -1 minus the gap."""
    width = max(map(len, gaps))
    mask = torch.tensor([[t < len(gap) for t in range(width)] for gap in gaps])
    padded = torch.tensor([[*gap, *[math.nan] * (width - len(gap))] for gap in gaps])
    old = torch.full(mask.shape, -1.0)
    scores = torch.tensor(rewards or (0.0,) * len(gaps))[:, None]
    return Rollouts(torch.zeros(len(gaps), dtype=torch.int64), mask, scores, old, {"sampler_logps": old - padded})


def weights(part, batch: Rollouts) -> list[float]:
    return part(torch.ones(batch.mask.shape), batch)[0].tolist()


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (SamplerImportance("token", high=math.inf), (1.2214, 0.9048, 2.2255)),
        (SamplerImportance("token", "truncate", high=2.0), (1.2214, 0.9048, 2.0)),
        (SamplerImportance("token", "mask", high=2.0), (1.2214, 0.9048, 0)),
        (SamplerImportance("token", "mask", low=1.0, high=2.0), (1.2214, 0, 0)),
        (SamplerImportance("token", "truncate", low=1.0, high=2.0), (1.2214, 1.0, 2.0)),
        (SamplerImportance("sequence", high=math.inf), (2.4596,) * 3),
        (SamplerImportance("sequence", "truncate", high=2.0), (2.0,) * 3),
        (SamplerImportance("sequence", "mask", high=2.0), (0,) * 3),
        (SamplerImportance("sequence", "mask", high=3.0), (2.4596,) * 3),
        (SamplerImportance("token", "truncate", high=2.0, normalise=True), (0.8880, 0.6579, 1.4541)),
    ],
)
def test_weights(part, expected):
    """gap = (.2, -.1, .8): exp = (1.2214, 0.9048, 2.2255); the product is exp(.9) = 2.4596.

    Normalised: the truncated weights over their mean (1.2214 + 0.9048 + 2) / 3 = 1.3754.
    """
    assert weights(part, batch_of(GAP)) == pytest.approx(expected, abs=6e-5)


def test_effective_sample_size():
    """Weights over their mean (0.8880, 0.6579, 1.4541): mean square 1.1120, and 1 / 1.1120 = 0.8993."""
    batch = batch_of(GAP)
    prepared = recipes.build("tis").prepare(batch_of(GAP, GAP, rewards=(0.0, 1.0)))
    value, count = prepared.metrics["sampler_effective_size"]
    assert (value / count).item() == pytest.approx(0.8993, abs=5e-5)
    assert effective_sample_size(torch.ones(1, 3), batch.mask).item() == 1


def test_metrics():
    """Mean gap 0.9 / 3 = 0.3; mean k3 = 0.1506; both over tokens of rows that take part."""
    metrics = recipes.build("tis").prepare(batch_of(GAP, GAP, rewards=(0.0, 1.0))).metrics
    total, tokens = metrics["sampler_gap"]
    assert (total / tokens).item() == pytest.approx(0.3, abs=1e-6)
    total, tokens = metrics["sampler_kl"]
    assert (total / tokens).item() == pytest.approx(0.1506, abs=5e-5)


@pytest.mark.parametrize(
    ("measure", "pooling", "expected"),
    [
        ("k1", "seq_mean", -0.3),
        ("k1", "seq_sum", -0.9),
        ("k1", "seq_max", 0.1),
        ("k2", "seq_sum", (0.04 + 0.01 + 0.64) / 2),
        ("k3", "seq_mean", 0.1506),
    ],
)
def test_divergence(measure, pooling, expected):
    """k1 = -gap, so that its mean -0.3 is minus the log of the geometric mean 1.3499 of the ratios; k2 = gap^2 / 2.

    k3: e^.2 - 1.2 = .0214, e^-.1 - .9 = .0048, e^.8 - 1.8 = .4255; mean 0.1506.
    """
    found = SamplerRejection(measure, pooling, high=1.0).divergence(batch_of(GAP))
    assert found.tolist() == [[pytest.approx(expected, abs=5e-5)]]
    if (measure, pooling) == ("k1", "seq_mean"):
        assert math.exp(-found.item()) == pytest.approx(1.3499, abs=5e-5)


def test_rejection_of_tokens():
    """k2 = (.02, .005, .32) with high = 0.1 leaves the third token out; the rest weighs 1, or 3/2 to fill the mean."""
    assert weights(SamplerRejection("k2", "token", high=0.1), batch_of(GAP)) == [1, 1, 0]
    part = SamplerRejection("k2", "token", high=0.1, keep_denominator=False)
    assert weights(part, batch_of(GAP)) == pytest.approx([1.5, 1.5, 0])


def test_k1_bounds_are_those_of_the_inverse_ratio():
    """Bounds log(.5) and log(4) on -gap keep ratios from 1/4 to 2: gap .8 (ratio 2.2) goes, gap -.8 (0.45) stays."""
    part = SamplerRejection("k1", "token", low=math.log(0.5), high=math.log(4))
    assert weights(part, batch_of([0.8, -0.8, -1.5])) == [0, 1, 0]


def test_rejection_of_a_completion():
    """seq_mean k3 of (.2, -.1, .8) is 0.1506: within 0.2 the row stays, within 0.1 it goes as a whole."""
    assert weights(SamplerRejection("k3", "seq_mean", high=0.2), batch_of(GAP)) == [1, 1, 1]
    assert weights(SamplerRejection("k3", "seq_mean", high=0.1), batch_of(GAP)) == [0, 0, 0]


def test_settings_of_the_recipes():
    """Truncation and rejection multiply: weights (1.2214, 0.9048, 2) and kept (1, 1, 0)."""
    batch = batch_of(GAP, GAP, rewards=(0.0, 1.0))
    objective = recipes.build("tis", reject="k2", reject_pooling="token", reject_high=0.1)
    assert (objective.prepare(batch).weights * 6)[0].tolist() == pytest.approx([1.2214, 0.9048, 0], abs=5e-4)
    assert (recipes.build("mis").prepare(batch).weights == 0).all()  # 2.4596 > 2
    kept = recipes.build("mis", high=3.0).prepare(batch).weights * 6
    assert kept[0].tolist() == pytest.approx([2.4596] * 3, abs=5e-4)


def test_the_penalty_is_not_weighted():
    """As in TRL: the correction multiplies the policy term, the KL penalty keeps the aggregation's weights."""
    batch = batch_of(GAP, GAP, rewards=(0.0, 1.0))
    prepared = recipes.build("mis", beta=0.1).prepare(batch)
    assert (prepared.weights == 0).all()
    assert prepared.penalty_weights[0].tolist() == pytest.approx([1 / 6] * 3)


def test_equal_engines_change_nothing():
    """gap 0 everywhere: GRPO's loss exactly."""
    batch = batch_of([0.0, 0, 0], [0.0, 0], rewards=(0.0, 1.0))
    outputs = PolicyOutputs(batch.logps + 0.1)
    losses = []
    for name in ("grpo", "tis", "mis"):
        objective = recipes.build(name)
        losses.append(objective.loss(batch, objective.prepare(batch), outputs).item())
    assert losses[0] == losses[1] == losses[2]


def test_hard_ground():
    """Gaps of +-50, NaN and infinities: within exp(+-20), and finite; NaN counts as 0."""
    batch = batch_of([50.0, -50, math.nan, 0], [1.0])
    assert sampler_gap(batch)[0].tolist() == [20, -20, 0, 0]
    assert sampler_gap(batch)[1, 1:].tolist() == [0, 0, 0]
    infinite = batch_of([math.inf, -math.inf, 0.0])
    assert sampler_gap(infinite).tolist() == [[20, -20, 0]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SamplerImportance("row"), "level must be one of token, sequence"),
        (lambda: SamplerImportance(beyond="drop"), "beyond must be one of truncate, mask"),
        (lambda: SamplerImportance(low=2.0), "0 <= low < high"),
        (lambda: SamplerRejection("k4"), "measure must be one of k1, k2, k3"),
        (lambda: SamplerRejection(pooling="mean"), "pooling must be one of token"),
        (lambda: SamplerRejection(low=1.0, high=0.5), "low < high"),
    ],
)
def test_impossible_settings_are_refused(make, message):
    """Words are checked, and a lower bound lies below the upper one."""
    with pytest.raises(ValueError, match=message):
        make()
