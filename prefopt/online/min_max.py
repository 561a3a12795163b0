"""Values on the scale of their own range."""

from __future__ import annotations

from torch import Tensor


def min_max(values: Tensor, eps: float = 1e-8) -> Tensor:
    """Return ``(x - min) / (max - min + eps)`` over all of ``values``, in float64; all alike, or none, give 0."""
    if values.numel() == 0:
        return values.double()
    low, high = values.double().min(), values.double().max()
    return (values.double() - low) / (high - low + eps)
