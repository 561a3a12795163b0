"""Likelihood of other tokens that could have been taken, weighted by who knows the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from prefopt.batch import PolicyOutputs, Rollouts
from prefopt.online.policy_weight.answer_conditioned import rationality
from prefopt.online.slots import Regulariser, masked


@dataclass(frozen=True)
class CandidateImitation(Regulariser):
    """``-(1 / n) sum_{i=2..n} w_i log pi(z_i)`` over the candidates beside the token that was taken.

    ``w`` is their `rationality`, without gradient.

    Attributes:
        cap: largest weight. drawn: ``n - 1``, how many a trainer draws at every position from the policy.

    Reference: InTRO, arXiv 2511.09865.
    """

    cap: float = 200.0
    drawn: int = 4
    needs: ClassVar[frozenset[str]] = frozenset({"policy.candidate_logps", "policy.candidate_answer_logps"})
    arxiv: ClassVar[str] = "2511.09865"

    def __call__(self, policy: PolicyOutputs, rollouts: Rollouts, ratio: Tensor, advantages: Tensor) -> Tensor:
        """Return ``(B, T)``."""
        there = rollouts.mask[..., None]
        plain = masked(policy.extras["candidate_logps"], there)
        informed = masked(policy.extras["candidate_answer_logps"], there)
        return -(rationality(informed, plain, self.cap) * plain).sum(-1) / (1 + plain.shape[-1])
