"""The critic's own loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from prefopt.batch import PolicyOutputs, Rollouts
from prefopt.online.advantage.generalised import generalised_advantages
from prefopt.online.slots import Regulariser, masked


@dataclass(frozen=True)
class ValueLoss(Regulariser):
    """``coefficient * max((V - R)^2, (V_old + clip(V - V_old, -bound, bound) - R)^2)``, ``R_t = A_t + V_old,t``.

    ``A`` are the generalised advantages before any adjustment, so that returns stay on the reward's scale. Without a
    bound it is the plain squared error.

    Attributes:
        coefficient: 0.5 in the reference implementation of the paper.
        bound: how far a value may move from the one at sampling time before its gradient stops; None = anywhere.
        discount, trace: those of the advantage.

    Reference: PPO, arXiv 1707.06347.
    """

    coefficient: float = 0.5
    bound: float | None = None
    discount: float = 1.0
    trace: float = 0.95
    needs: ClassVar[frozenset[str]] = frozenset({"values", "policy.values"})
    arxiv: ClassVar[str] = "1707.06347"

    def carry(self, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return the returns ``(B, T)``."""
        old = masked(rollouts.extras["values"].double(), rollouts.mask)
        return generalised_advantages(signal, old, rollouts.mask, self.discount, self.trace) + old

    def __call__(
        self, policy: PolicyOutputs, rollouts: Rollouts, ratio: Tensor, advantages: Tensor, *_: Any, carried: Tensor
    ) -> Tensor:
        """Return ``(B, T)``."""
        values = masked(policy.extras["values"], rollouts.mask)
        returns = masked(carried.to(values), rollouts.mask)
        error = (values - returns) ** 2
        if self.bound is not None:
            old = masked(rollouts.extras["values"].to(values), rollouts.mask)
            near = old + (values - old).clamp(-self.bound, self.bound)
            error = torch.maximum(error, (near - returns) ** 2)
        return self.coefficient * error
