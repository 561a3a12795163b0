"""What terms over whole groups share: sums over a row's tokens, means over a row's group, with gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.slots import masked


def row_sums(values: Tensor, mask: Tensor) -> Tensor:
    """Return ``(B,)``, at least float32: the sum of ``values`` ``(B, T)`` over ``mask``."""
    wide = torch.promote_types(values.dtype, torch.float32)
    return masked(values, mask).to(wide).sum(-1)


def row_means(values: Tensor, mask: Tensor) -> Tensor:
    """Return ``(B,)``: the mean of ``values`` ``(B, T)`` over ``mask``, 0 for an empty row."""
    return row_sums(values, mask) / mask.sum(-1).clamp(min=1)


def group_means(values: Tensor, rollouts: Rollouts, counts: Tensor) -> Tensor:
    """Return ``(B,)``: the mean of ``values`` ``(B,)`` over the rows of each row's group where ``counts`` is true."""
    labels, index = torch.unique(rollouts.group, return_inverse=True)
    share = counts.to(values)
    total = values.new_zeros(len(labels)).index_add(0, index, values * share)
    number = values.new_zeros(len(labels)).index_add(0, index, share)
    return (total / number.clamp(min=1))[index]


def same_group(rollouts: Rollouts) -> Tensor:
    """Return bool ``(B, B)``: rows that answer the same prompt."""
    return rollouts.group[:, None] == rollouts.group[None, :]


def prompts(group: Tensor, counts: Tensor) -> Tensor:
    """Return a float64 scalar, at least 1: how many prompts have a row where ``counts`` ``(B,)`` is true."""
    return torch.tensor(max(len(group[counts].unique()), 1), dtype=torch.float64, device=group.device)
