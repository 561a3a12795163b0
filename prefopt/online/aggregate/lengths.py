"""Lengths and sequence counts that aggregations share."""

from __future__ import annotations

import torch
from torch import Tensor


def row_lengths(mask: Tensor) -> Tensor:
    """Return ``(B, 1)`` float64: tokens of each row."""
    return mask.sum(-1, keepdim=True).double()


def sequence_count(mask: Tensor) -> Tensor:
    """Return a float64 scalar: rows that have a token, at least 1."""
    return mask.any(-1).sum().double().clamp(min=1)


def spread(per_row: Tensor, mask: Tensor) -> Tensor:
    """Return float32 ``(B, T)``: each row's weight ``(B, 1)`` on its tokens, zero elsewhere."""
    return torch.where(mask, per_row, torch.zeros_like(per_row)).float()
