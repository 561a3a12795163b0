"""Importance weights from the trainer's policy to the engine that sampled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.choice import check_choice
from prefopt.online.k3 import k3
from prefopt.online.sampler_gap import Level, effective_sample_size, normalised, sampler_gap, sampler_ratio
from prefopt.online.slots import Metrics, TokenWeight, masked

Beyond = Literal["truncate", "mask"]


@dataclass(frozen=True)
class SamplerImportance(TokenWeight):
    """``w = exp(log pi_old - log pi_sampler)`` of a token, or the product over its completion, within bounds.

    A quantised or otherwise different sampling engine draws from another distribution than the policy whose gradient
    is taken. The weight multiplies the policy term alone, on top of the usual ratio ``pi / pi_old``; the denominator of
    the loss stays as it is. Not to be combined with a ratio whose old policy is the sampler.

    Attributes:
        level: ``token``, or ``sequence``: unbiased, and of a variance that grows with length.
        beyond: ``truncate`` clamps to ``[low, high]``, ``mask`` sets weights beyond either bound to 0.
        low, high: bounds of the weight.
        normalise: divide by the mean weight over the batch's tokens.

    Reference: FP8-RL, arXiv 2601.18150; bounds on both sides are IcePop's form.
    """

    level: Level = "token"
    beyond: Beyond = "truncate"
    low: float = 0.0
    high: float = 2.0
    normalise: bool = False
    needs: ClassVar[frozenset[str]] = frozenset({"sampler_logps"})
    arxiv: ClassVar[str] = "2601.18150"

    def __post_init__(self) -> None:
        check_choice("level", self.level, Level)
        check_choice("beyond", self.beyond, Beyond)
        if not 0 <= self.low < self.high:
            raise ValueError(f"bounds need 0 <= low < high, not low = {self.low}, high = {self.high}")

    def __call__(self, advantages: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B, T)``."""
        ratio = sampler_ratio(rollouts, self.level)
        inside = (ratio >= self.low) & (ratio <= self.high)
        bounded = ratio.clamp(self.low, self.high)
        weights = bounded if self.beyond == "truncate" else torch.where(inside, ratio, 0.0)
        return normalised(weights, rollouts.mask) if self.normalise else weights

    def metrics(self, weights: Tensor, rollouts: Rollouts) -> Metrics:
        """Return ``sampler_gap``, its k3 estimate ``sampler_kl``, and ``sampler_effective_size``, a share of tokens."""
        gap, tokens = sampler_gap(rollouts), rollouts.mask.sum()
        return {
            "sampler_gap": (gap.sum(), tokens),
            "sampler_kl": (masked(k3(gap), rollouts.mask).sum(), tokens),
            "sampler_effective_size": (effective_sample_size(weights, rollouts.mask), torch.ones(())),
        }
