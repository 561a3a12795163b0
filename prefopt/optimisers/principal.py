"""Which entries of a weight matrix its largest singular directions are made of."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def principal_entries(matrix: Tensor, rank: int, count: int) -> Tensor:
    """Return ``(count,)`` int64, ascending: flat places of the largest ``|W_r|``, the best rank-``rank`` approximation.

    Args:
        matrix: ``(m, n)``. rank: of the approximation; at least ``min(m, n)`` takes the matrix itself.
        count: how many entries, at most ``m * n``.
    """
    left, values, right = torch.linalg.svd(matrix.float(), full_matrices=False)
    approximation = (left[:, :rank] * values[:rank]) @ right[:rank]
    return approximation.abs().flatten().topk(count, sorted=False).indices.sort().values
