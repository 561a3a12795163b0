"""Verdicts of tests as one matrix: ragged lists in, NaN where there is no verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from reward_models.errors import DataError

Verdicts = Sequence[bool | float | None]


def pass_matrix(rows: Sequence[Verdicts | None], width: int = 0) -> Tensor:
    """Return ``(N, M)`` float32: 1 passed, 0 failed, NaN no verdict; M is the longest row, at least ``width``.

    Args:
        rows: verdicts of each program; None (a whole row or one verdict) = not graded.
        width: columns that there shall be at least.

    Raises:
        DataError: a verdict that is neither true, false nor missing; it names row and test.
    """
    longest = max([width, *(len(row) for row in rows if row is not None)])
    matrix = torch.full((len(rows), longest), torch.nan)
    for number, row in enumerate(rows):
        for test, verdict in enumerate(row or ()):
            if verdict is None or (isinstance(verdict, float) and math.isnan(verdict)):
                continue
            if verdict not in (0, 1):
                raise DataError(
                    f"row {number + 1}, test {test + 1}: the verdict {verdict!r} is neither true nor false nor None"
                )
            matrix[number, test] = float(verdict)
    return matrix
