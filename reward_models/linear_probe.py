"""A first head on frozen states: logistic regression on the differences of a pair's states."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from reward_models.errors import DataError
from reward_models.finite_values import check_finite

OVERFLOW = "The model's states overflow: read it in bfloat16 or float32, and look at that row."


def linear_probe(chosen: Tensor, rejected: Tensor, strength: float = 0.01, steps: int = 1000) -> Tensor:
    """Return the head ``w`` ``(1, d)`` float32 that minimises ``mean -log sigma(w (z_w - z_l)) + strength / 2 |w|^2``.

    Bradley-Terry on fixed states is a logistic regression on differences without intercept; half of them are turned
    round, since that needs two classes. A model that is fine-tuned from this head moves its states less than from a
    random one, so that several such models keep a common basin.

    Args:
        chosen, rejected: states of a pair's answers, ``(N, d)`` each.
        strength: of the penalty; more than 0, as pairs in many dimensions can be separated. steps: of L-BFGS, at most.

    Raises:
        DataError: fewer than two pairs, states that are not finite, or no penalty.

    Reference: arXiv 2401.12187, section 3 (linear probing).
    """
    if len(chosen) < 2:
        raise DataError(f"a linear probe needs at least two pairs, not {len(chosen)}")
    if not strength > 0:
        raise DataError(f"the probe's penalty must be more than 0, got {strength}")
    for side, states in (("chosen", chosen), ("rejected", rejected)):
        check_finite(states, f"states of the {side} answers", advice=OVERFLOW)
    differences = (chosen.double() - rejected.double()).cpu().numpy()
    signs = np.where(np.arange(len(differences)) % 2 == 0, 1.0, -1.0)
    # scikit-learn minimises the sum of losses plus |w|^2 / (2 C).
    fit = LogisticRegression(C=1 / (strength * len(differences)), fit_intercept=False, max_iter=steps, tol=1e-8)
    return torch.from_numpy(np.asarray(fit.fit(differences * signs[:, None], signs).coef_)).float()
