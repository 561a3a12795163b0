"""One linear head an attribute on frozen features, by ridge regression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.linear_model import Ridge
from torch import Tensor

from reward_models.errors import DataError
from reward_models.finite_values import check_finite
from reward_models.linear_probe import OVERFLOW

STRENGTHS = tuple(10.0**power for power in range(-4, 5))
LEAST = 5


@dataclass(frozen=True)
class AttributeFit:
    """How an attribute's head was found: rows that rate it, the strength that was chosen, and what it does held out.

    ``correlation`` is Spearman's between prediction and rating on the held-out rows; None where one is constant.
    """

    name: str
    rows: int
    strength: float
    loss: float
    correlation: float | None


@dataclass(frozen=True)
class Attributes:
    """Heads ``(K, d)`` float32, and how each was found."""

    weights: Tensor
    fits: tuple[AttributeFit, ...]


def fit_attributes(
    features: Tensor,
    ratings: Tensor,
    names: Sequence[str],
    strengths: Sequence[float] = STRENGTHS,
    held_out: float = 0.2,
    seed: int = 0,
    intercept: bool = False,
) -> Attributes:
    """Fit ``min_w |z w - y|^2 + a |w|^2`` for each attribute, without intercept, on the rows that rate it.

    A fifth of those rows is held out; the strength ``a`` with the least squared error there is taken, and the head that
    was fitted on the others is kept, as in the authors' code. A missing rating is no rating.

    With ``intercept`` states and ratings are centred by the means of the rows that are fitted. Without one every head
    spends itself on the mean state, which all answers share, to reach the mean rating; with one it fits how answers
    differ. A head has no offset, so its rewards then say by how much an answer differs from others, not its rating;
    the order of answers to one prompt is the same with and without that offset.

    Args:
        features: ``(N, d)``. ratings: ``(N, K)`` in [0, 1], NaN = not rated.
        names: of the K attributes. strengths: tried. held_out: share of an attribute's rows. seed: of the split.
        intercept: as above; the authors' code has none.

    Raises:
        DataError: an attribute with fewer than five ratings, or ratings outside [0, 1].
    """
    outside = (ratings < 0) | (ratings > 1)
    if bool(outside.any()):
        row, place = outside.nonzero()[0].tolist()
        raise DataError(
            f"attribute '{names[place]}', row {row}: the rating {float(ratings[row, place]):g} lies outside 0 to 1; "
            "map its scale to that range"
        )
    check_finite(features, "features", advice=OVERFLOW)
    heads, fits = [], []
    for place, name in enumerate(names):
        rated = ~torch.isnan(ratings[:, place])
        if int(rated.sum()) < LEAST:
            raise DataError(f"attribute '{name}' has {int(rated.sum())} ratings; at least {LEAST} are needed")
        head, fit = _fit(features[rated].double().numpy(), ratings[rated, place].double().numpy(), name, strengths,
                         held_out, np.random.default_rng(seed), intercept)  # fmt: skip
        heads.append(torch.from_numpy(head).float())
        fits.append(fit)
    return Attributes(torch.stack(heads), tuple(fits))


def _fit(
    features: np.ndarray, ratings: np.ndarray, name: str, strengths: Sequence[float], held_out: float,
    generator: np.random.Generator, intercept: bool,
) -> tuple[np.ndarray, AttributeFit]:  # fmt: skip
    order = generator.permutation(len(ratings))
    count = max(1, round(held_out * len(ratings)))
    test, train = order[:count], order[count:]
    if intercept:
        features, ratings = features - features[train].mean(0), ratings - ratings[train].mean()
    best: tuple[float, float, np.ndarray] | None = None
    for strength in strengths:
        head = ridge(features[train], ratings[train], strength)
        loss = float(np.mean((features[test] @ head - ratings[test]) ** 2))
        if best is None or loss < best[0]:
            best = (loss, strength, head)
    assert best is not None
    loss, strength, head = best
    predicted = features[test] @ head
    varied = len(test) > 1 and np.ptp(predicted) > 0 and np.ptp(ratings[test]) > 0
    rank = float(spearmanr(predicted, ratings[test]).statistic) if varied else None
    return head, AttributeFit(name, len(ratings), strength, loss, rank)


def ridge(features: np.ndarray, ratings: np.ndarray, strength: float) -> np.ndarray:
    """Return the head ``(d,)`` of one attribute, without intercept."""
    return np.asarray(Ridge(alpha=strength, fit_intercept=False).fit(features, ratings).coef_, dtype=float)
