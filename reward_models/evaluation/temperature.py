"""One number that makes a reward model's confidence match its frequency of being right."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn.functional import softplus

from reward_models.errors import DataError
from reward_models.finite_values import check_finite

RANGE = (1e-3, 1e3)
LEAST = 20


@dataclass(frozen=True)
class Temperature:
    """``P(chosen is better) = sigma(margin / value)``, fitted on ``pairs`` held-out pairs.

    ``loss_before`` and ``loss``: mean of ``-log sigma(margin)`` and of ``-log sigma(margin / value)`` on those.
    """

    value: float
    pairs: int
    loss_before: float
    loss: float


def fit_temperature(margins: Tensor) -> Temperature:
    """Fit ``T > 0`` by least mean of ``-log sigma(margin / T)`` over held-out pairs.

    The loss is convex in ``1 / T``, so there is one minimum; where every pair (or none) is right it lies at an end of
    .001 to 1000. Order of answers, and so accuracy, does not change.

    Shape: margins ``(N,)``, chosen minus rejected.

    Raises:
        DataError: fewer than 20 pairs, or a margin that is not finite.

    Reference: arXiv 1706.04599.
    """
    if len(margins) < LEAST:
        raise DataError(f"a temperature needs at least {LEAST} held-out pairs, not {len(margins)}")
    check_finite(margins, "margins of the held-out pairs", advice="Score the pair again, or leave it out.")
    held = margins.double()

    def loss(log_temperature: float) -> float:
        return float(softplus(-held / math.exp(log_temperature)).mean())

    found = minimize_scalar(loss, bounds=tuple(np.log(RANGE)), method="bounded", options={"xatol": 1e-6})
    return Temperature(math.exp(found.x), len(held), loss(0.0), float(found.fun))
