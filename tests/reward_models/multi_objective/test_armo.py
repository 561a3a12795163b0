"""ArmoRM's two stages (arXiv 2406.12845)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from reward_models.errors import DataError
from reward_models.multi_objective import Gate, GateSettings, decorrelate, fit_attributes, train_gate
from reward_models.multi_objective.attributes import ridge
from reward_models.multi_objective.gate import gated_scores

REWARDS = torch.tensor(
    [[0.9, 0.8, 0.5, 0.9], [0.7, 0.1, 0.6, 0.7], [0.5, 0.9, 0.1, 0.4], [0.3, 0.2, 0.3, 0.2], [0.1, 0.5, 0.9, 0.1]]
)


def test_ridge_by_hand() -> None:
    """X = (1,0), (0,1), (1,1), y = .2, .5, .9, strength 1: (X'X + I) = [[3,1],[1,3]], X'y = (1.1, 1.4).

    Inverse [[3,-1],[-1,3]] / 8: ((3.3 - 1.4) / 8, (4.2 - 1.1) / 8) = (.2375, .3875).
    """
    found = ridge(np.array([[1.0, 0], [0, 1], [1, 1]]), np.array([0.2, 0.5, 0.9]), 1.0)
    assert found == pytest.approx([0.2375, 0.3875])


def test_attributes_are_found_on_rated_rows_alone() -> None:
    """Ratings are linear in the features; each attribute is rated on half of the rows. The heads are recovered."""
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(400, 3, generator=generator)
    true = torch.tensor([[0.5, 0.2, 0.1], [0.0, 0.3, 0.6]])
    ratings = features @ true.T
    ratings[::2, 0], ratings[1::2, 1] = math.nan, math.nan
    found = fit_attributes(features, ratings, ["a", "b"])
    torch.testing.assert_close(found.weights, true, atol=1e-3, rtol=0)
    assert [fit.rows for fit in found.fits] == [200, 200]
    assert [fit.strength for fit in found.fits] == [1e-4, 1e-4]
    assert found.fits[0].correlation == pytest.approx(1.0)


def test_with_an_intercept_the_common_part_of_states_is_left_out() -> None:
    """States (9, x) with x evenly -1 and 1, rating .5 + .1 x. Without intercept, at strength 1,000, the head must make

    .5 of the 9: on n rows 9 * .5 n / (81 n + 1000) for n = 80, 360 / 7,480 = .0481. With one it is 0 there and .1 for
    x, which a strength of 1e-4 hardly shrinks.
    """
    x = torch.tensor([1.0, -1.0]).repeat(50)
    features = torch.stack([torch.full_like(x, 9.0), x], 1)
    ratings = (0.5 + 0.1 * x)[:, None]
    plain = fit_attributes(features, ratings, ["a"], (1000.0,))
    assert float(plain.weights[0, 0]) == pytest.approx(0.0481, abs=5e-4)
    found = fit_attributes(features, ratings, ["a"], (1e-4,), intercept=True)
    torch.testing.assert_close(found.weights, torch.tensor([[0.0, 0.1]]), atol=1e-6, rtol=0)
    assert found.fits[0].loss == pytest.approx(0.0, abs=1e-12)


def test_attributes_refuse_what_they_cannot_use() -> None:
    """Ratings of 1 to 5 as they are, and an attribute that hardly anyone rated."""
    features = torch.rand(10, 2)
    with pytest.raises(DataError, match=r"'b', row 0: the rating .* lies outside 0 to 1"):
        fit_attributes(features, torch.tensor([[0.5, 5.0]]).repeat(10, 1), ["a", "b"])
    rare = torch.full((10, 1), math.nan)
    rare[:4] = 0.5
    with pytest.raises(DataError, match="'a' has 4 ratings"):
        fit_attributes(features, rare, ["a"])


def test_debiasing_by_hand() -> None:
    """Attribute 3 is verbosity. Attribute 0 ranks as it does (1.0): no penalty of the grid helps, so 1; attribute 1

    correlates .1 and needs .4; attribute 2 correlates -.2 and keeps 0.
    """
    found = decorrelate(REWARDS, 3, threshold=0.03)
    assert found.correlations == pytest.approx((1.0, 0.1, -0.2, 1.0))
    assert found.penalties == (1.0, 0.4, 0.0, 1.0)
    torch.testing.assert_close(found(REWARDS[0]), torch.tensor([0.0, 0.44, 0.5, 0.0]))


def test_gated_score_by_hand() -> None:
    """g = (.4, .3, .2, .1) on row 0: .3 * .44 + .2 * .5 = .2320; as coefficients of the raw rewards W g =

    (.4, .3, .2, .1 - .4 - .12 - 0 - .1) = (.4, .3, .2, -.52), the same score: .36 + .24 + .1 - .468.
    """
    debias, gate = decorrelate(REWARDS, 3), torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)
    row = REWARDS[0].double()
    assert float(debias(row) @ gate) == pytest.approx(0.2320)
    coefficients = debias.matrix @ gate
    torch.testing.assert_close(coefficients, torch.tensor([0.4, 0.3, 0.2, -0.52], dtype=torch.float64))
    assert float(row @ coefficients) == pytest.approx(0.2320)


def test_gate_is_a_softmax_over_attributes() -> None:
    """Logits (10, 0, -10) at temperature 10: softmax(1, 0, -1) = (.6652, .2447, .0900); a scale multiplies all."""
    gate = Gate(1, 3, layers=0)
    with torch.no_grad():
        gate.network[0].weight.zero_()
        gate.network[0].bias.copy_(torch.tensor([10.0, 0.0, -10.0]))
        gate.scale.fill_(2.0)
        found = gate.eval()(torch.zeros(4, 1))
    torch.testing.assert_close(found, 2 * torch.tensor([[0.6652, 0.2447, 0.0900]]).repeat(4, 1), atol=1e-4, rtol=0)


def test_both_answers_of_a_pair_have_one_gate() -> None:
    """The released script's softmax over the pair's axis would give 1/2 everywhere; ours does not depend on the row."""
    gate = Gate(2, 3, width=8).eval()
    prompts = torch.tensor([[0.3, -1.0]]).repeat(2, 1)
    with torch.no_grad():
        weights = gate(prompts)
    torch.testing.assert_close(weights[0], weights[1])
    torch.testing.assert_close(weights.sum(-1), torch.ones(2))


def test_gate_learns_which_attribute_counts() -> None:
    """Two kinds of prompts, told by a feature; attribute 0 decides in one, attribute 1 in the other.

    The sum of both is right in 3 of 4 pairs (sum and difference of two normals: 1/2 + 1/4); the gate reaches over .95.
    """
    generator = torch.Generator().manual_seed(0)
    kind = torch.randint(2, (1500,), generator=generator)
    prompts = torch.nn.functional.one_hot(kind, 2).float()
    rewards = torch.randn(2, 1500, 2, generator=generator)
    right = (rewards[0] > rewards[1])[torch.arange(1500), kind]
    chosen, rejected = (torch.where(right[:, None], *sides) for sides in ((rewards[0], rewards[1]), rewards.flip(0)))
    how = GateSettings(width=32, layers=1, temperature=1.0, steps=300, batch_size=256, learning_rate=1e-2)
    gate = train_gate(prompts[:1000], chosen[:1000], rejected[:1000], how)
    with torch.no_grad():
        scores = [gated_scores(gate, prompts[1000:], part[1000:]) for part in (chosen, rejected)]
    assert float((scores[0] > scores[1]).float().mean()) > 0.95
    assert float(((chosen - rejected)[1000:].sum(-1) > 0).float().mean()) == pytest.approx(0.75, abs=0.05)
