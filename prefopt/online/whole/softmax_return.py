"""The return, averaged with weights that the policy itself gives to whole completions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from prefopt.batch import PolicyOutputs, Rollouts
from prefopt.online.slots import GroupTerm
from prefopt.online.whole.sums import prompts, row_sums, same_group


def group_log_softmax(scores: Tensor, together: Tensor) -> Tensor:
    """Return ``(B,)``: log-softmax of ``scores`` ``(B,)`` over the rows that ``together`` ``(B, B)`` puts side by side.

    A row is always beside itself, so that every result is finite.
    """
    beside = together | torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    return scores - scores[None, :].expand(beside.shape).masked_fill(~beside, -torch.inf).logsumexp(-1)


@dataclass(frozen=True)
class SoftmaxReturn(GroupTerm):
    """``mean over prompts of -sum_k w_k R_k - entropy * H(w) + kl * KL(w_old || w)``, ``w = softmax_k(L)``,
    ``L_k = sum_t log pi``.

    ``R`` are the advantages, ``w_old`` the softmax under the behaviour policy. The gradient passes through ``w``:
    that of the first term on ``L_k`` is ``-w_k (R_k - sum_j w_j R_j)``, which carries its own baseline.

    Only the weights and that there are three terms are known; the direction of the KL, the entropy over completions,
    the coefficients and what is normalised are reconstructed. The paper's softmax runs over a batch of trajectories;
    here over the completions of a prompt, as others do not compete with them. For long completions ``L`` differs by
    tens of nats and ``w`` holds one completion alone: ``per_token`` (not the paper's) divides ``L`` by the length.

    Attributes:
        entropy, kl: coefficients. per_token: ``L`` is a mean over tokens.

    Reference: HAEPO, arXiv 2508.18884.
    """

    entropy: float = 0.1
    kl: float = 0.01
    per_token: bool = False
    arxiv: ClassVar[str] = "2508.18884"

    def carry(self, signal: Tensor, advantages: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B, 2)``: the row's weight ``1 / prompts``, 0 where it takes no part, and its return."""
        counts = rollouts.mask.any(-1)
        returns = advantages.double().sum(-1) / rollouts.mask.sum(-1).clamp(min=1)
        weight = (1 / prompts(rollouts.group, counts)).expand_as(returns).where(counts, 0.0)
        return torch.stack([weight, returns], -1)

    def __call__(self, policy: PolicyOutputs, rollouts: Rollouts, carried: Tensor) -> Tensor:
        """Return the loss."""
        scores = row_sums(policy.logps, rollouts.mask)
        old_scores = row_sums(rollouts.logps, rollouts.mask).to(scores)
        if self.per_token:
            length = rollouts.mask.sum(-1).clamp(min=1)
            scores, old_scores = scores / length, old_scores / length
        weight, returns = carried.to(scores).unbind(-1)
        together = same_group(rollouts) & (weight > 0)[None, :]
        log_w, old_log_w = group_log_softmax(scores, together), group_log_softmax(old_scores, together)
        w, old_w = log_w.exp(), old_log_w.exp()
        each = -w * returns + self.entropy * w * log_w + self.kl * old_w * (old_log_w - log_w)
        return (weight * each).sum()
