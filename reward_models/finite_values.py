"""Refuses numbers that cannot be computed with, and says where they stand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from reward_models.errors import DataError


def check_finite(values: Any, what: str, columns: Sequence[str] = (), advice: str = "") -> None:
    """Raise ``DataError`` for NaN or infinity in ``(N, ...)`` numbers; it names row and column, from 1 on.

    Args:
        values: tensor, array or list.
        what: the numbers are, as the message calls them.
        columns: names of the second dimension's entries.
        advice: what to do about it.
    """
    array = values.detach().cpu().float().numpy() if isinstance(values, torch.Tensor) else np.asarray(values, float)
    bad = np.argwhere(~np.isfinite(array))
    if not len(bad):
        return
    row, *rest = bad[0].tolist()
    column = f", {columns[rest[0]]}" if rest and columns else f", column {rest[0] + 1}" if rest else ""
    more = len(set(bad[:, 0].tolist())) - 1
    others = f"; {more} more row{'s' if more > 1 else ''} like it" if more else ""
    words = f"{what}, row {row + 1}{column}: {array[tuple(bad[0])]} is no finite number{others}. {advice}"
    raise DataError(words.rstrip())
