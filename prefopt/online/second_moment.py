"""Tokens that move against a trust region, and how far: what both forms of M2PO measure."""

from __future__ import annotations

import torch
from torch import Tensor


def squared_log_ratios(ratio: Tensor, shape: torch.Size) -> Tensor:
    """Return ``(log rho)^2``, expanded to ``shape``; finite for a ratio that has fallen to 0."""
    smallest = torch.finfo(ratio.dtype).tiny
    return (ratio.detach().clamp(min=smallest).log() ** 2).expand(shape)


def harmful(ratio: Tensor, advantages: Tensor) -> Tensor:
    """Return bool, shape of ``advantages``: tokens that have moved in the direction in which they are pushed.

    ``(A > 0 and rho > 1) or (A < 0 and rho < 1)``: pushing these further leaves the trust region.
    """
    return ((advantages > 0) & (ratio > 1)) | ((advantages < 0) & (ratio < 1))
