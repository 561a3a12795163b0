"""How much more likely a token is to one who knows the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from prefopt.batch import PolicyOutputs, Rollouts
from prefopt.online.slots import PolicyWeight, masked


def rationality(informed: Tensor, plain: Tensor, cap: float) -> Tensor:
    """Return ``w = min(pi(z | x + y) / pi(z | x), cap)`` without gradient, from two log-probabilities of any shape."""
    return (informed - plain).detach().exp().clamp(max=cap)


@dataclass(frozen=True)
class AnswerConditioned(PolicyWeight):
    """``w_t / n`` for the token that was taken, ``w`` the `rationality` and ``n - 1`` the other candidates.

    With `prefopt.online.regularise.CandidateImitation` for the others it is a Monte Carlo estimate of the gradient of
    the forward KL to the policy that is told the answer. ``E[w] = 1`` under the policy, so no baseline is needed.

    Attributes:
        cap: largest weight.
        candidates: False = the token that was taken stands alone, ``n = 1``, and others are neither needed nor counted.

    Reference: InTRO, arXiv 2511.09865.
    """

    cap: float = 200.0
    candidates: bool = True
    arxiv: ClassVar[str] = "2511.09865"

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        """The answer-conditioned log-probability, and the other candidates, as their number counts."""
        return frozenset({"policy.answer_logps"} | ({"policy.candidate_logps"} if self.candidates else set()))

    def __call__(self, ratio: Tensor, advantages: Tensor, policy: PolicyOutputs, rollouts: Rollouts) -> Tensor:
        """Return ``(B, T)``."""
        informed = masked(policy.extras["answer_logps"], rollouts.mask)
        number = 1 + (policy.extras["candidate_logps"].shape[-1] if self.candidates else 0)
        return rationality(informed, masked(policy.logps, rollouts.mask), self.cap) / number
