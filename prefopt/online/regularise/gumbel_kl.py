"""KL penalty where some tokens are soft."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from prefopt.batch import PolicyOutputs, Rollouts
from prefopt.online.gumbel import soft_log_ratio, soft_positions
from prefopt.online.k3 import k3
from prefopt.online.slots import Regulariser, masked


@dataclass(frozen=True)
class GumbelKL(Regulariser):
    """``beta * (exp(d) - d - 1)``, ``d`` the Gumbel log-density under the reference minus that under the policy at
    a soft token, and ``log pi_ref - log pi`` at an ordinary one.

    Attributes:
        beta: coefficient. joint: as in `prefopt.online.ratio.GumbelRatio`.

    Reference: SofT-GRPO, arXiv 2511.06411.
    """

    beta: float = 1e-3
    joint: bool = False
    needs: ClassVar[frozenset[str]] = frozenset({"ref_logps", "ref_soft_logps", "soft_values", "policy.soft_logps"})
    arxiv: ClassVar[str] = "2511.06411"

    def __call__(self, policy: PolicyOutputs, rollouts: Rollouts, ratio: Tensor, advantages: Tensor) -> Tensor:
        """Return ``(B, T)``."""
        extras = rollouts.extras
        values = extras["soft_values"].to(policy.logps)
        soft = soft_positions(values, rollouts.mask)
        own, reference = policy.extras["soft_logps"].to(values), extras["ref_soft_logps"].to(values)
        ordinary = masked(extras["ref_logps"] - policy.logps, rollouts.mask & ~soft)
        gap = torch.where(soft, soft_log_ratio(reference, own, values, soft, self.joint), ordinary)
        return self.beta * k3(gap)
