"""Groups that disagree about a number count less."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.groups import Groups
from prefopt.online.slots import Adjustment


@dataclass(frozen=True)
class PredictionSpread(Adjustment):
    """``A <- exp(-alpha * u) A``, ``u = clip(v / ((high - low)^2 / 4 + 1e-8), 0, 1)``.

    ``v`` is the population variance of the group's predictions, clamped to ``[low, high]``; a completion without one
    (NaN) does not count, and fewer than two give ``v = 0``.

    Attributes:
        alpha: how much disagreement damps. low, high: range of the predictions.

    Reference: Q-Hawkeye, arXiv 2601.22920.
    """

    alpha: float = 0.2
    low: float = 1.0
    high: float = 5.0
    needs: ClassVar[frozenset[str]] = frozenset({"predictions"})
    arxiv: ClassVar[str] = "2601.22920"

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"predictions need a range, not low = {self.low:g} and high = {self.high:g}")

    def __call__(self, advantages: Tensor, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B, T)``."""
        predictions = rollouts.extras["predictions"].double().clamp(self.low, self.high)
        predictions = predictions.where(~torch.isnan(signal), torch.nan)
        groups = Groups.of(rollouts.group, predictions)
        variance = groups.std(predictions, 0).nan_to_num() ** 2
        unsure = (variance / ((self.high - self.low) ** 2 / 4 + 1e-8)).clamp(0, 1)
        return advantages * (-self.alpha * unsure).exp()[:, None]
