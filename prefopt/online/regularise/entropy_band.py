"""A bonus for entropy, and a penalty for leaving a band around what it has been so far."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from prefopt.batch import PolicyOutputs, Rollouts
from prefopt.composition import State, StatefulPart
from prefopt.online.slots import Regulariser, masked


def phase_weight(step: int, steps: int, gamma: float) -> float:
    """Return ``beta_k = 1 + exp(-gamma k / floor(K / 2))`` at step k of K."""
    return 1 + math.exp(-gamma * step / max(steps // 2, 1))


def released_phase_weight(step: int, steps: int) -> float:
    """Return ``1 - 0.2 (1 - e^(-2p))`` in the first half of a run and ``0.8 e^(-3p)`` in the second, ``p = k / K``."""
    p = step / steps
    return 1 - 0.2 * (1 - math.exp(-2 * p)) if p < 0.5 else 0.8 * math.exp(-3 * p)


@dataclass(frozen=True)
class EntropyBand(Regulariser, StatefulPart):
    """``-coefficient * (H_t - beta_k * alpha * P_t)``, ``P_t = max(low Hbar - H_t, 0) + max(H_t - high Hbar, 0)``.

    ``Hbar`` is the mean over the steps before of their mean entropy, ``beta_k`` the `phase_weight`. At the first step
    there is no history and no penalty.

    Attributes:
        coefficient: lambda. alpha: of the penalty; 0.05 to 0.1 in the paper.
        low, high: the band; the paper's experiments have 0 and 2, its text suggests 0.5 and 1.5.
        steps: K, of the whole run. gamma: how fast the penalty's weight falls from 2 to 1.
        released: the authors' code, whose penalty is the constant ``alpha`` outside the band and so has no gradient,
            with `released_phase_weight`. Its history by the step of the environment is not reproduced.

    Reference: EPO, arXiv 2509.22576.
    """

    coefficient: float = 1e-3
    alpha: float = 0.1
    low: float = 0.0
    high: float = 2.0
    steps: int = 150
    gamma: float = 3.0
    released: bool = False
    needs: ClassVar[frozenset[str]] = frozenset({"entropies", "policy.entropies"})
    arxiv: ClassVar[str] = "2509.22576"

    def __post_init__(self) -> None:
        if not (0 <= self.low <= self.high and self.steps >= 1):
            raise ValueError(f"the band needs 0 <= low <= high and at least one step: {self}")

    def init_state(self) -> State:
        """Return an empty history."""
        return {"total": torch.zeros((), dtype=torch.float64), "steps": torch.zeros((), dtype=torch.int64)}

    def statistics(self, rollouts: Rollouts, *_: Any, state: State | None = None) -> State:
        """Return the sum of the batch's entropies and the number of its tokens."""
        entropies = masked(rollouts.extras["entropies"].double(), rollouts.mask)
        return {"entropy": entropies.sum(), "tokens": rollouts.mask.sum()}

    def update(self, state: State, statistics: Mapping[str, Tensor]) -> State:
        """Add the step's mean entropy to the history; a batch without a token changes nothing."""
        if statistics["tokens"] == 0:
            return state
        mean = (statistics["entropy"] / statistics["tokens"]).to(state["total"])
        return {"total": state["total"] + mean, "steps": state["steps"] + 1}

    def outside(self, entropies: Tensor, usual: Tensor) -> Tensor:
        """Return ``P_t`` for ``Hbar = usual``."""
        return (self.low * usual - entropies).clamp(min=0) + (entropies - self.high * usual).clamp(min=0)

    def __call__(
        self,
        policy: PolicyOutputs,
        rollouts: Rollouts,
        ratio: Tensor,
        advantages: Tensor,
        *_: Any,
        state: State | None = None,
    ) -> Tensor:
        """Return ``(B, T)``; without a state, as at the first step."""
        state = state or self.init_state()
        entropies, step = policy.extras["entropies"], int(state["steps"])
        if not step:
            return -self.coefficient * entropies
        beyond = self.outside(entropies, (state["total"] / step).to(entropies))
        if self.released:
            weight = released_phase_weight(min(step, self.steps), self.steps)
            return -self.coefficient * (entropies - weight * self.alpha * (beyond > 0).to(entropies))
        return -self.coefficient * (entropies - phase_weight(step, self.steps, self.gamma) * self.alpha * beyond)
