"""Whether a pair's confidence is its frequency of being right."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from reward_models.finite_values import check_finite


@dataclass(frozen=True)
class CalibrationBin:
    """Pairs whose confidence lies in ``[low, high)``; the last bin holds 1."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """Expected calibration error, Brier score and the reliability curve (bins that hold a pair)."""

    expected_error: float
    brier: float
    bins: tuple[CalibrationBin, ...]


def calibrate(margins: Tensor, count: int = 10) -> Calibration:
    """Calibration of ``P(chosen is better) = sigma(margin)``.

    Which answer is listed first is a convention, so the question is put symmetrically: the model names the answer
    with the higher score, with confidence ``c = sigma(|margin|)`` in [1/2, 1], and is right where margin > 0.
    Bins are ``count`` equal widths of [1/2, 1];

        ECE = sum over bins of n_b / N |mean confidence_b - accuracy_b|
        Brier = mean (1 - sigma(margin))^2

    Equal scores have confidence 1/2 and count as half right.

    Shape: margins (N,), chosen minus rejected, turned round where the label is.

    Raises:
        ValueError: no pairs, or a margin that is not finite.

    Reference: ECE: arXiv 1706.04599; Brier, 1950 (Monthly Weather Review 78:1).
    """
    if not len(margins):
        raise ValueError("calibration needs at least one pair")
    check_finite(margins, "margins", advice="Score the pair again, or leave it out.")
    margins = margins.double()
    confidence = margins.abs().sigmoid()
    right = (torch.sign(margins) + 1.0) / 2.0
    index = ((confidence - 0.5) * 2 * count).long().clamp(max=count - 1)
    bins = []
    for b in range(count):
        inside = index == b
        if inside.any():
            low = 0.5 + b / (2 * count)
            bins.append(
                CalibrationBin(
                    low=low,
                    high=low + 1 / (2 * count),
                    count=int(inside.sum()),
                    confidence=float(confidence[inside].mean()),
                    accuracy=float(right[inside].mean()),
                )
            )
    error = sum(b.count * abs(b.confidence - b.accuracy) for b in bins) / len(margins)
    return Calibration(error, float((1.0 - margins.sigmoid()).square().mean()), tuple(bins))
