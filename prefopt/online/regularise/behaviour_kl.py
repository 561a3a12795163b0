"""KL divergence from the policy that wrote the batch."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from prefopt.batch import PolicyOutputs, Rollouts
from prefopt.online.k3 import k3
from prefopt.online.slots import Regulariser, masked


@dataclass(frozen=True)
class BehaviourKL(Regulariser):
    """``beta * min(exp(d) - d - 1, bound)`` with ``d = log pi_old - log pi``: a soft trust region around ``pi_old``.

    The bound is on the estimate, not on ``d``: a token beyond it has no gradient.

    Attributes:
        beta: coefficient. bound: largest estimate of a token.
    """

    beta: float = 1e-3
    bound: float = 10.0

    def __call__(self, policy: PolicyOutputs, rollouts: Rollouts, ratio: Tensor, advantages: Tensor) -> Tensor:
        """Return ``(B, T)``."""
        # Beyond 80 the exponential would be infinite in float32, and 0 * inf its gradient; the bound holds long before.
        gap = masked(rollouts.logps - policy.logps, rollouts.mask).clamp(max=80)
        return self.beta * k3(gap).clamp(max=self.bound)
