"""A clip and an advantage that adapt to each token's entropy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from prefopt.batch import PolicyOutputs, Rollouts
from prefopt.online.entropy_score import EntropyScale
from prefopt.online.gate.clip import beyond
from prefopt.online.gate.dual_clip import dual_clipped
from prefopt.online.slots import Gate, Scope


@dataclass(frozen=True)
class EntropyScoredClip(Gate):
    """Dual-clip PPO with bounds and advantages that follow the token's entropy score ``h`` in [-1, 1]::

        e_low  = low (1 - widen h)     where h <= 0, else low
        e_high = high (1 + widen h)    where h > 0, else high
        A'     = A (1 + amplify h)     where h > 0 and rho outside (1 - e_low / 2, 1 + e_high / 2),
                                       or h <= 0 and rho inside; else A

    ``h`` comes from the current policy's entropies over the mini-batch, see `EntropyScale`. So a token of low entropy
    may lose more probability, one of high entropy gain more; certain tokens that have hardly moved count less.

    Attributes:
        low, high: bounds at ``h = 0``. widen, amplify: how far ``h`` moves bounds and advantages.
        bound: of the dual clip. quantile: of log-entropies, at which ``h`` is 0.
        unsigned: the released code's score, positive for tokens of low entropy too.

    Reference: HAPO, arXiv 2509.16591.
    """

    low: float = 0.2
    high: float = 0.2
    widen: float = 1.0
    amplify: float = 1.0
    bound: float = 10.0
    quantile: float = 0.8
    unsigned: bool = False
    needs: ClassVar[frozenset[str]] = frozenset({"policy.entropies"})
    arxiv: ClassVar[str] = "2509.16591"
    scope: ClassVar[Scope] = "batch"

    def __post_init__(self) -> None:
        if not (0 <= self.low * (1 + self.widen) <= 1 and self.high >= 0):
            raise ValueError(f"the lower bound falls below 0: low = {self.low}, widen = {self.widen}")
        if self.bound <= 1 + self.high * (1 + self.widen):
            raise ValueError(f"bound must exceed 1 + high (1 + widen), not {self.bound}")

    def survey(self, ratio: Tensor, advantages: Tensor, policy: PolicyOutputs, rollouts: Rollouts) -> Tensor:
        """Return ``h`` ``(B, T)``, 0 outside the mask."""
        mask, entropies = rollouts.mask, policy.extras["entropies"]
        if not mask.any():
            return torch.zeros_like(advantages)
        scale = EntropyScale.of(entropies, mask, self.quantile)
        return scale.score(entropies, self.unsigned).where(mask, 0.0).to(advantages)

    def _bounds(self, score: Tensor) -> tuple[Tensor, Tensor]:
        return self.low * (1 - self.widen * score.clamp(max=0)), self.high * (1 + self.widen * score.clamp(min=0))

    def redistributed(self, ratio: Tensor, advantages: Tensor, score: Tensor) -> Tensor:
        """Return ``A'``."""
        low, high = self._bounds(score)
        neutral = (ratio > 1 - low / 2) & (ratio < 1 + high / 2)
        return torch.where((score > 0) ^ neutral, advantages * (1 + self.amplify * score), advantages)

    def __call__(self, ratio: Tensor, advantages: Tensor, logps: Tensor, *, surveyed: Tensor) -> Tensor:
        """Return ``(B, T)``; ``surveyed`` is ``h`` ``(B, T)``."""
        low, high = self._bounds(surveyed)
        moved = self.redistributed(ratio, advantages, surveyed)
        return dual_clipped(ratio, moved, 1 - low, 1 + high, self.bound)

    def closed(self, ratio: Tensor, advantages: Tensor, *, surveyed: Tensor) -> Tensor:
        """Return bool ``(B, T)``: tokens without gradient."""
        low, high = self._bounds(surveyed)
        return beyond(ratio, advantages, 1 - low, 1 + high) | ((advantages < 0) & (ratio > self.bound))
