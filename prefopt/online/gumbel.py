"""Soft thought tokens: mixtures of embeddings whose weights are drawn with Gumbel noise, and their density.

A soft token keeps k of the vocabulary's tokens with probabilities ``p``, renormalised; ``l = log(p + 1e-6)``. Sampling
draws ``values = l + noise`` and feeds the embedding ``sum_k softmax(values / tau)_k E[k]``. Given the stored values,
the density of the noise that another policy would have needed takes the place of a token's log-probability.

Reference: SofT-GRPO, arXiv 2511.06411.
"""

from __future__ import annotations

import torch
from torch import Tensor

NOISE = (-1.5, 3.0)
LEAST = -3.0


def stored_logps(logps: Tensor) -> Tensor:
    """Return ``l = log(p + 1e-6)``, ``p`` renormalised over the last dimension; ``logps`` ``(..., k)`` of any scale."""
    return (logps.softmax(-1) + 1e-6).log()


def perturbed(logps: Tensor, noise: Tensor) -> Tensor:
    """Return the ``values`` ``(..., k)`` that a sampler stores: ``l + clamp(noise, -1.5, 3)``, Gumbel(0, 1) noise."""
    return stored_logps(logps) + noise.clamp(*NOISE)


def mixture(values: Tensor, tau: float = 0.1) -> Tensor:
    """Return the weights ``(..., k)`` of the embeddings, ``softmax(values / tau)``."""
    return (values / tau).softmax(-1)


def gumbel_log_density(logps: Tensor, values: Tensor, joint: bool = False) -> Tensor:
    """Return ``(...)``: the mean over tokens with ``l > -3`` of ``-e - exp(-e)``, ``e = clamp(values - l, -1.5, 3)``.

    Outside the clamp there is no gradient. The mean is what the method uses; it is no joint density and damps the ratio
    by k. ``joint`` sums instead. Where no token has ``l > -3`` the result is 0.

    Args:
        logps: ``(..., k)`` of the k stored tokens under a policy; they are renormalised. values: as stored.
    """
    own = stored_logps(logps)
    noise = (values - own).clamp(*NOISE)
    counts = (own > LEAST).to(own)
    total = (counts * (-noise - (-noise).exp())).sum(-1)
    return total if joint else total / counts.sum(-1).clamp(min=1)


def soft_positions(values: Tensor, mask: Tensor) -> Tensor:
    """Return bool ``(B, T)``: tokens of ``mask`` that are soft, from stored ``values`` ``(B, T, k)``, NaN elsewhere."""
    return mask & ~torch.isnan(values).any(-1)


def soft_log_ratio(new: Tensor, old: Tensor, values: Tensor, soft: Tensor, joint: bool = False) -> Tensor:
    """Return ``(B, T)``: log-density under ``new`` minus that under ``old`` where ``soft``, 0 elsewhere."""
    where = soft[..., None]
    new, old, values = (torch.where(where, x, torch.zeros_like(x)) for x in (new, old, values))
    gap = gumbel_log_density(new, values, joint) - gumbel_log_density(old, values, joint)
    return torch.where(soft, gap, torch.zeros_like(gap))
