"""How far the trainer's log-probabilities lie from those of the engine that sampled the tokens."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.slots import masked

Level = Literal["token", "sequence"]
LIMIT = 20.0


def sampler_gap(rollouts: Rollouts) -> Tensor:
    """Return ``log pi_old - log pi_sampler``, float32 ``(B, T)`` within +-20; 0 outside the mask and where NaN."""
    gap = masked(rollouts.logps.float() - rollouts.extras["sampler_logps"].float(), rollouts.mask)
    return gap.nan_to_num(nan=0.0, posinf=LIMIT, neginf=-LIMIT).clamp(-LIMIT, LIMIT)


def sampler_ratio(rollouts: Rollouts, level: Level) -> Tensor:
    """Return ``exp(gap)`` ``(B, T)``, or its product over the completion at each token, within ``exp(+-20)``."""
    gap = sampler_gap(rollouts)
    if level == "sequence":
        gap = gap.sum(-1, keepdim=True).clamp(-LIMIT, LIMIT).expand(gap.shape)
    return gap.exp()


def normalised(weights: Tensor, mask: Tensor) -> Tensor:
    """Return ``weights`` ``(B, T)`` over their mean on the mask, so that they neither raise nor lower the step."""
    mean = masked(weights, mask).sum() / mask.sum().clamp(min=1)
    return torch.where(mean > 0, weights / mean, weights)


def effective_sample_size(weights: Tensor, mask: Tensor) -> Tensor:
    """Return ``1 / mean((w / mean w)^2)`` over the mask, as a share of its tokens: 1 where all weights are equal."""
    squares = masked(normalised(weights, mask) ** 2, mask).sum() / mask.sum().clamp(min=1)
    return torch.where(squares > 0, 1 / squares, torch.zeros_like(squares))
