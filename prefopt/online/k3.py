"""An estimate of a divergence from one log-ratio."""

from __future__ import annotations

from torch import Tensor


def k3(gap: Tensor) -> Tensor:
    """Return ``exp(gap) - gap - 1``, never negative; its mean over samples of p is KL(p || q) if gap = log(q / p)."""
    return gap.exp() - gap - 1
