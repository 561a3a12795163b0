"""Leave out tokens or completions on which trainer and sampling engine disagree."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.choice import check_choice
from prefopt.online.k3 import k3
from prefopt.online.sampler_gap import sampler_gap
from prefopt.online.slots import TokenWeight, masked

Measure = Literal["k1", "k2", "k3"]
Pooling = Literal["token", "seq_sum", "seq_mean", "seq_max"]


@dataclass(frozen=True)
class SamplerRejection(TokenWeight):
    """1 where ``low <= s <= high``, else 0, with a divergence ``s`` of a token or of its completion::

        gap = log pi_old - log pi_sampler        k1 = -gap        k2 = gap^2 / 2        k3 = exp(gap) - gap - 1

    Bounds are on ``s``. Those of k1 are log-ratios with the opposite sign: ``low = log(0.5), high = log(2)`` keeps
    ratios ``pi_old / pi_sampler`` from 0.5 to 2, and of ``log(0.5), log(4)`` it keeps 0.25 to 2. The mean of k1 over a
    completion bounds the geometric mean of its ratios. Several rejections in ``token_weight`` all have to pass.

    Attributes:
        measure: k1, k2 or k3.
        pooling: of each ``token``, or the sum, mean or maximum over the completion.
        low, high: bounds on ``s``; None = none.
        keep_denominator: False scales the rest up, so that a mean over all tokens becomes the mean over kept ones.

    Reference: FP8-RL, arXiv 2601.18150.
    """

    measure: Measure = "k1"
    pooling: Pooling = "seq_mean"
    low: float | None = None
    high: float | None = None
    keep_denominator: bool = True
    needs: ClassVar[frozenset[str]] = frozenset({"sampler_logps"})
    arxiv: ClassVar[str] = "2601.18150"

    def __post_init__(self) -> None:
        check_choice("measure", self.measure, Measure)
        check_choice("pooling", self.pooling, Pooling)
        low, high = self._bounds
        if low >= high:
            raise ValueError(f"bounds need low < high, not low = {low}, high = {high}")

    @property
    def _bounds(self) -> tuple[float, float]:
        return -math.inf if self.low is None else self.low, math.inf if self.high is None else self.high

    def divergence(self, rollouts: Rollouts) -> Tensor:
        """Return ``s``: ``(B, T)``, or ``(B, 1)`` for a completion."""
        gap = sampler_gap(rollouts)
        measures = {"k1": -gap, "k2": gap**2 / 2, "k3": k3(gap)}
        values = masked(measures[self.measure], rollouts.mask)
        if self.pooling == "token":
            return values
        if self.pooling == "seq_max":
            return values.where(rollouts.mask, -torch.inf).amax(-1, keepdim=True)
        total = values.sum(-1, keepdim=True)
        length = rollouts.mask.sum(-1, keepdim=True).clamp(min=1)
        return total / length if self.pooling == "seq_mean" else total

    def __call__(self, advantages: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B, T)``."""
        divergence, (low, high) = self.divergence(rollouts), self._bounds
        kept = ((divergence >= low) & (divergence <= high)).expand(rollouts.mask.shape).float()
        if self.keep_denominator:
            return kept
        return kept * (rollouts.mask.sum() / masked(kept, rollouts.mask).sum().clamp(min=1))
