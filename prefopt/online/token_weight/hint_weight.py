"""Tokens that were given, not generated, count less or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.hints import given, hint_distances
from prefopt.online.slots import TokenWeight


@dataclass(frozen=True)
class HintWeight(TokenWeight):
    """0 on a hint's tokens where ``A < 0``, ``exp(-|H_t - Hbar| / (Hbar + 1e-6))`` on them elsewhere, 1 after the hint.

    ``Hbar`` is the mean entropy of the completion's own tokens: a hint that the policy finds as uncertain as its own
    text is learnt in full. That it is this function is reconstructed; that hints of failures are left out is not.

    Reference: ADHint, arXiv 2512.13095.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"hint_length", "entropies"})
    arxiv: ClassVar[str] = "2512.13095"

    def __call__(self, advantages: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B, T)``."""
        hint = given(rollouts.mask, rollouts.extras["hint_length"])
        damped = (-hint_distances(rollouts.extras["entropies"], rollouts.mask, hint)).exp()
        return torch.where(hint, damped * (advantages >= 0), 1.0)
