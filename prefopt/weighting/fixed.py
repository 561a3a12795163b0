"""Fixed weights of reward sources, given by the user."""

from __future__ import annotations

import torch
from torch import Tensor

from prefopt.errors import UserError


def fixed_weights(weights: tuple[float, ...] | None, sources: int) -> Tensor:
    """Return ``(K,)`` float64: the weights, or ones for None. Raises ``UserError`` where their number is not K."""
    if weights is None:
        return torch.ones(sources, dtype=torch.float64)
    if len(weights) != sources:
        raise UserError(f"{len(weights)} reward weights for {sources} reward sources; give one weight a source")
    return torch.tensor(weights, dtype=torch.float64)
