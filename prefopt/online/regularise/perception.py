"""What the policy says shall depend on the picture that it was shown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from prefopt.batch import PolicyOutputs, Rollouts
from prefopt.composition import State
from prefopt.online.k3 import k3
from prefopt.online.slots import Regulariser, masked
from prefopt.online.step_count import StepCount


@dataclass(frozen=True)
class Perception(Regulariser, StepCount):
    """``-gamma_s * clip(exp(d) - d - 1, -10, 10)``, ``d = clip(sg[log pi(y | degraded)] - log pi(y), -20, 20)``.

    It raises the divergence between what the policy says of an input and of a degraded copy. ``gamma_s = gamma * (1 +
    cos(pi * s / anneal_steps)) / 2`` at optimiser step s, 0 from ``anneal_steps`` on.

    Attributes:
        gamma: coefficient at the start.
        anneal_steps: optimiser steps until it is gone, five epochs of them in the paper; None = it stays.

    Reference: Q-Hawkeye, arXiv 2601.22920.
    """

    gamma: float = 1e-4
    anneal_steps: int | None = None
    needs: ClassVar[frozenset[str]] = frozenset({"policy.degraded_logps"})
    arxiv: ClassVar[str] = "2601.22920"

    def __call__(
        self,
        policy: PolicyOutputs,
        rollouts: Rollouts,
        ratio: Tensor,
        advantages: Tensor,
        *_: Any,
        state: State | None = None,
    ) -> Tensor:
        """Return ``(B, T)``; without a state, as at step 0."""
        gap = masked(policy.extras["degraded_logps"].detach() - policy.logps, rollouts.mask).clamp(-20, 20)
        return -self.coefficient(state or self.init_state()) * k3(gap).clamp(-10, 10)

    def coefficient(self, state: Mapping[str, Tensor]) -> float:
        """Return ``gamma_s``."""
        if self.anneal_steps is None:
            return self.gamma
        done = min(int(state["step"]) / self.anneal_steps, 1.0)
        return self.gamma * (1 + math.cos(math.pi * done)) / 2
