"""Worked numbers of the aggregations: the weight of a token, for completions of 1 and 3 tokens unless said."""

from __future__ import annotations

import pytest
import torch

from prefopt import recipes
from prefopt.online.aggregate import ConstantLength, DeltaL, SequenceMean, SequenceSum, TokenMean


def mask(*lengths: int, width: int = 0) -> torch.Tensor:
    return torch.arange(width or max(lengths)) < torch.tensor(lengths)[:, None]


@pytest.mark.parametrize(
    ("aggregate", "short", "long"),
    [
        (SequenceMean(), 1 / 2, 1 / 6),  # 1 / (B T_i), B = 2
        (SequenceSum(), 1 / 2, 1 / 2),  # 1 / B
        (TokenMean(), 1 / 4, 1 / 4),  # 1 / (1 + 3)
        (ConstantLength(10), 1 / 20, 1 / 20),  # 1 / (B * 10)
        (ConstantLength(), 1 / 6, 1 / 6),  # longest of the batch is 3
        (DeltaL(alpha=0.0, max_length=10), 1 / 20, 1 / 20),  # alpha 0 is the constant length
        (DeltaL(alpha=1.0, max_length=10), 1.5 / 20, 0.5 / 20),  # 1 and 1/3, mean 2/3: 1.5 and 0.5
    ],
)
def test_token_weights(aggregate, short, long):
    """The value stands beside each case; tokens outside the mask weigh nothing."""
    weights = aggregate(mask(1, 3))
    assert weights[0].tolist() == pytest.approx([short, 0, 0])
    assert weights[1].tolist() == pytest.approx([long] * 3)


@pytest.mark.parametrize(("alpha", "expected"), [(0.75, (1.5399, 0.9156, 0.5444)), (1.0, (1.7143, 0.8571, 0.4286))])
def test_delta_l_relative_weights(alpha, expected):
    """T = (100, 200, 400). alpha 1: T^-1 = (4, 2, 1) / 400, mean 7/3: 12/7, 6/7, 3/7. A token weighs u / (3 * 400)."""
    weights = DeltaL(alpha=alpha, max_length=400)(mask(100, 200, 400))
    assert (weights[:, 0] * 3 * 400).tolist() == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(("alpha", "coefficient"), [(0.0, 77.78), (0.75, 58.15), (1.0, 57.14)])
def test_delta_l_variance(alpha, coefficient):
    """A completion's gradient has variance T_i: sum x_i^2 T_i with x_i = u_i / 3.

    alpha 0: (100 + 200 + 400) / 9 = 77.78. alpha 1: x = (4, 2, 1)/7, (16*100 + 4*200 + 400)/49 = 57.14, the least.
    """
    lengths = torch.tensor([100.0, 200, 400])
    x = DeltaL(alpha=alpha, max_length=400)(mask(100, 200, 400))[:, 0] * 400
    assert (x.double() ** 2 @ lengths.double()).item() == pytest.approx(coefficient, abs=5e-3)


@pytest.mark.parametrize(
    "aggregate", [SequenceMean(), SequenceSum(), TokenMean(), ConstantLength(4), DeltaL(max_length=4)]
)
def test_a_row_without_tokens_is_not_counted(aggregate):
    """Weights of the other rows are those that they have without it."""
    with_empty = aggregate(mask(1, 0, 3))
    torch.testing.assert_close(with_empty[[0, 2]], aggregate(mask(1, 3)))
    assert (with_empty[1] == 0).all()


def test_recipes_use_them():
    """The composition of a recipe is what its card says."""
    assert recipes.build("dr_grpo", max_length=7).aggregate == ConstantLength(7)
    assert recipes.build("delta_l").aggregate == DeltaL(0.75)
    assert recipes.build("dapo").aggregate == TokenMean()
    assert recipes.build("gspo").aggregate == SequenceMean()
    assert recipes.build("rloo").aggregate == SequenceSum()
