"""Likelihood of an expert's completions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from prefopt.batch import PolicyOutputs, Rollouts
from prefopt.online.slots import Regulariser, masked


@dataclass(frozen=True)
class Imitation(Regulariser):
    """``-coefficient * log pi(y_t)`` on the tokens of an expert's rows, 0 on others: supervised fine-tuning.

    Attributes:
        coefficient: weight.
    """

    coefficient: float = 1.0
    needs: ClassVar[frozenset[str]] = frozenset({"from_expert"})

    def __call__(self, policy: PolicyOutputs, rollouts: Rollouts, ratio: Tensor, advantages: Tensor) -> Tensor:
        """Return ``(B, T)``."""
        return -self.coefficient * masked(policy.logps, rollouts.mask & rollouts.extras["from_expert"][:, None])
