"""Importance ratio of each token."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from prefopt.online.slots import Ratio


@dataclass(frozen=True)
class TokenRatio(Ratio):
    """``rho_{i,t} = exp(log pi(y_t) - log pi_old(y_t))``, shape ``(B, T)``."""

    def __call__(self, logps: Tensor, old_logps: Tensor, mask: Tensor) -> Tensor:
        """Return ``(B, T)``; 1 outside the mask."""
        return (logps - old_logps).exp()
