"""Small rollouts for worked numbers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from prefopt import recipes
from prefopt.batch import Rollouts


def rollouts(
    rewards: Sequence[float] | Sequence[Sequence[float]],
    groups: Sequence[int] | None = None,
    lengths: Sequence[int] | None = None,
    logps: Tensor | None = None,
    **extras: Tensor,
) -> Rollouts:
    """Completions of the given lengths (1 each) with one or several rewards; all of one group unless said."""
    columns = torch.tensor(rewards, dtype=torch.float32)
    columns = columns if columns.ndim == 2 else columns[:, None]
    rows = len(columns)
    length = torch.tensor(lengths or [1] * rows)
    mask = torch.arange(int(length.max())) < length[:, None]
    return Rollouts(
        torch.tensor(groups or [0] * rows),
        mask,
        columns,
        torch.zeros(mask.shape) if logps is None else logps,
        extras,
    )


def advantages(name: str, batch: Rollouts, state: dict[str, Tensor] | None = None, **settings: object) -> Tensor:
    """What a recipe makes of ``batch``, ``(B, T)``."""
    return recipes.build(name, **settings).prepare(batch, state).advantages
