"""Rewards of a known range on the scale of a pass rate."""

from __future__ import annotations

import torch
from torch import Tensor


def to_unit_interval(signal: Tensor, reward_min: float, reward_max: float, reader: str) -> Tensor:
    """Return ``(r - reward_min) / (reward_max - reward_min)`` in float64; NaN stays NaN.

    Raises:
        ValueError: a reward outside the range, which ``reader`` reads as a pass rate.
    """
    if not reward_max > reward_min:
        raise ValueError(f"{reader} needs reward_min < reward_max, not {reward_min:g} and {reward_max:g}")
    slack = 1e-6 * (reward_max - reward_min)
    outside = (signal > reward_max + slack) | (signal < reward_min - slack)
    if outside.any():
        raise ValueError(
            f"a reward of {signal[outside][0].item():g} lies outside [{reward_min:g}, {reward_max:g}], which {reader} "
            "reads as pass rates 0 to 1; set reward_min and reward_max to what the weighted rewards can take"
        )
    scaled = (signal.double() - reward_min) / (reward_max - reward_min)
    return scaled.clamp(0, 1).where(~torch.isnan(signal), torch.nan)
