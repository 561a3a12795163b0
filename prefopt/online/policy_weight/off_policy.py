"""Leave out bad completions that the policy would hardly write any more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from prefopt.batch import PolicyOutputs, Rollouts
from prefopt.online.slots import PolicyWeight, masked


@dataclass(frozen=True)
class OffPolicyMask(PolicyWeight):
    """``1[A >= 0 or mean_t (log pi_sampler - log pi) <= threshold]``, the mean over the completion's tokens.

    Both kinds of drift count: that of updates since the completion was sampled, and that between sampling engine and
    trainer. Tokens without a log-probability of the sampler (NaN) count as if there were no drift. The denominator of
    the loss stays as it is.

    Attributes:
        threshold: largest mean, nats a token. The paper names none; 0.5 is our choice.

    Reference: off-policy sequence masking of DeepSeek-V3.2, arXiv 2512.02556.
    """

    threshold: float = 0.5
    needs: ClassVar[frozenset[str]] = frozenset({"sampler_logps"})
    arxiv: ClassVar[str] = "2512.02556"

    def __call__(self, ratio: Tensor, advantages: Tensor, policy: PolicyOutputs, rollouts: Rollouts) -> Tensor:
        """Return ``(B, T)``, 0 or 1."""
        drift = masked(rollouts.extras["sampler_logps"] - policy.logps, rollouts.mask).nan_to_num(nan=0.0)
        mean = drift.sum(-1, keepdim=True) / rollouts.mask.sum(-1, keepdim=True).clamp(min=1)
        return ((advantages >= 0) | (mean <= self.threshold)).to(policy.logps)
