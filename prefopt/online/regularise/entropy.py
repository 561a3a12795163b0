"""A bonus for entropy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from prefopt.batch import PolicyOutputs, Rollouts
from prefopt.online.slots import Regulariser


@dataclass(frozen=True)
class EntropyBonus(Regulariser):
    """``-coefficient * H_t`` with the entropy ``H_t`` of the current policy before each token, over the vocabulary.

    Its gradient does not pass through the sampled token's log-probability, and does not vanish where all rewards of
    a group are equal. Without a bound the bonus can grow until the policy is noise.

    Reference: entropy regularisation of policy gradients (Williams and Peng, 1991).
    """

    coefficient: float = 1e-3
    needs: ClassVar[frozenset[str]] = frozenset({"policy.entropies"})

    def __call__(self, policy: PolicyOutputs, rollouts: Rollouts, ratio: Tensor, advantages: Tensor) -> Tensor:
        """Return ``(B, T)``."""
        return -self.coefficient * policy.extras["entropies"]
