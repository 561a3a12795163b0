"""How far each coordinate's step goes, by whether momentum and gradient agree."""

from __future__ import annotations

import torch
from torch import Tensor


def step_factors(
    direction: Tensor, gradient: Tensor, share: float, large: float, small: float, cautious: bool = False
) -> Tensor:
    """Return a factor for each coordinate, shape of ``direction``.

    ``large`` for the ``int(share * size)`` largest products ``direction * gradient`` (signed, not absolute), ``small``
    for the rest. A tensor of one entry gets ``small`` where ``share < 1``.

    Args:
        direction: what the optimiser would step along. gradient: of this batch.
        share: of the coordinates that get ``large``.
        large, small: the factors.
        cautious: ``large`` wherever the product is not negative instead, which needs no sort.
    """
    products = (direction * gradient).flatten()
    if cautious:
        return torch.where(products >= 0, large, small).to(direction.dtype).view_as(direction)
    factors = torch.full_like(products, small)
    factors[products.topk(int(share * products.numel()), sorted=False).indices] = large
    return factors.view_as(direction)


def check_factors(share: float, large: float | None, small: float | None) -> tuple[float, float]:
    """Return ``large`` and ``small``, the paper's ``1 / share`` and ``share`` where they are None.

    Raises:
        ValueError: a share outside (0, 1], or a factor that is not positive.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share lies above 0 and up to 1, not {share}")
    large, small = 1 / share if large is None else large, share if small is None else small
    if min(large, small) <= 0:
        raise ValueError(f"factors must be positive (0 can make Adam diverge), not {large} and {small}")
    return large, small
