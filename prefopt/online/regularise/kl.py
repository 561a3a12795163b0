"""KL divergence to the reference policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from prefopt.batch import PolicyOutputs, Rollouts
from prefopt.online.k3 import k3
from prefopt.online.slots import Regulariser, masked


@dataclass(frozen=True)
class KL(Regulariser):
    """``beta * (exp(d) - d - 1)`` with ``d = log pi_ref - log pi``: the k3 estimator, unbiased on-policy, never
    negative.

    Attributes:
        beta: coefficient.
        importance_corrected: multiply by the ratio, which keeps the estimator unbiased off-policy (TRL's default; the
            GRPO paper has no such factor).

    Reference: GRPO, arXiv 2402.03300.
    """

    beta: float = 0.04
    importance_corrected: bool = False
    needs: ClassVar[frozenset[str]] = frozenset({"ref_logps"})
    arxiv: ClassVar[str] = "2402.03300"

    def __call__(self, policy: PolicyOutputs, rollouts: Rollouts, ratio: Tensor, advantages: Tensor) -> Tensor:
        """Return ``(B, T)``."""
        gap = masked(rollouts.extras["ref_logps"] - policy.logps, rollouts.mask)
        penalty = self.beta * k3(gap)
        return penalty * ratio if self.importance_corrected else penalty
