"""A clip whose width follows from the mini-batch's second moment of the log-ratio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from prefopt.batch import PolicyOutputs, Rollouts
from prefopt.online.gate.clip import beyond, clipped
from prefopt.online.second_moment import harmful, squared_log_ratios
from prefopt.online.slots import Gate, Scope


@dataclass(frozen=True)
class SecondMomentClip(Gate):
    """``min(rho * A, clip(rho, e^-c, e^c) * A)``, with ``c`` as wide as a budget on the second moment allows.

    Over the mini-batch's tokens that moved the way they are pushed, ``v_0 <= v_1 <= ...`` are the values of
    ``(log rho)^2``. Where their mean exceeds the threshold, ``k`` is the first place at which capping all at ``v_k``
    would reach it, and ``c^2 = v_(k-1)`` (``c = 0`` for ``k = 0``). Otherwise nothing is clipped.

    Attributes:
        threshold: on the mean of the capped values.
        least_low, least_high: the clip is never tighter than ``[1 - least_low, 1 + least_high]``; the released
            configuration has 0.3 and 0.5.

    Reference: the released code of M2PO, arXiv 2510.01161. Its paper leaves tokens out instead:
    `prefopt.online.policy_weight.SecondMomentMask`.
    """

    threshold: float = 0.04
    least_low: float = 0.0
    least_high: float = 0.0
    arxiv: ClassVar[str] = "2510.01161"
    scope: ClassVar[Scope] = "batch"

    def survey(self, ratio: Tensor, advantages: Tensor, policy: PolicyOutputs, rollouts: Rollouts) -> Tensor:
        """Return ``c`` of the mini-batch, ``(B, 1)``, the same in all rows; infinite where nothing is clipped."""
        moved = harmful(ratio, advantages)
        values = squared_log_ratios(ratio, moved.shape)[moved].double().sort().values
        count = len(values)
        rest = torch.arange(count - 1, -1, -1, device=values.device)
        reached = values.cumsum(0) + values * rest >= self.threshold * count
        within = count == 0 or bool(values.mean() <= self.threshold)
        place = 0 if within else int(reached.int().argmax())
        width = torch.inf if within else (float(values[place - 1]) ** 0.5 if place else 0.0)
        return torch.full((len(advantages), 1), width, dtype=ratio.dtype, device=ratio.device)

    def _bounds(self, surveyed: Tensor) -> tuple[Tensor, Tensor]:
        return (-surveyed).exp().clamp(max=1 - self.least_low), surveyed.exp().clamp(min=1 + self.least_high)

    def __call__(self, ratio: Tensor, advantages: Tensor, logps: Tensor, *, surveyed: Tensor) -> Tensor:
        """Return ``(B, T)``; ``surveyed`` ``(B, 1)``."""
        low, high = self._bounds(surveyed)
        return clipped(ratio, advantages, low, high)

    def closed(self, ratio: Tensor, advantages: Tensor, *, surveyed: Tensor) -> Tensor:
        """Return bool ``(B, T)``: tokens without gradient."""
        low, high = self._bounds(surveyed)
        return beyond(ratio, advantages, low, high)
