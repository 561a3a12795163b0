"""Confident completions give way to hesitant ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.groups import Groups
from prefopt.online.slots import Adjustment


def low_confidence(logps: Tensor, mask: Tensor, share: float) -> Tensor:
    """Return ``(B,)``: ``exp`` of the mean of the ``ceil(share * length)`` smallest log-probabilities of each row.

    At least one token is taken; a row without a token gives 1.
    """
    length = mask.sum(-1)
    # A share such as 0.2 of 15 is 3, whatever its binary fraction says.
    taken = torch.ceil(length.double() * share - 1e-9).clamp(min=1)
    smallest, _ = logps.double().where(mask, torch.inf).sort(dim=-1)
    among = torch.arange(mask.shape[1], device=mask.device) < torch.minimum(taken, length.double())[:, None]
    return (smallest.where(among, 0.0).sum(-1) / taken).exp()


@dataclass(frozen=True)
class ConfidenceGap(Adjustment):
    """``A_i <- A_i + alpha * (c(prompt) - c(completion))`` in groups where any reward is positive.

    ``c`` is the geometric mean probability, at sampling time, of the ``share`` least likely tokens. For the prompt this
    is a reconstruction by analogy. In an all-correct group, whose advantages are 0, the term acts alone.

    Attributes:
        alpha: coefficient; the paper's is not established.
        share: share of the tokens that count, rounded up.
        skip_solved: leave groups alone whose rewards are all positive (one account of the paper says so).
        only_correct: leave completions alone whose reward is not positive.

    Reference: ProGRPO, arXiv 2602.05281.
    """

    alpha: float = 0.3
    share: float = 0.2
    skip_solved: bool = False
    only_correct: bool = False
    needs: ClassVar[frozenset[str]] = frozenset({"prompt_logps", "prompt_mask"})
    arxiv: ClassVar[str] = "2602.05281"

    def __call__(self, advantages: Tensor, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B, T)``."""
        of_prompt = low_confidence(rollouts.extras["prompt_logps"], rollouts.extras["prompt_mask"].bool(), self.share)
        gap = of_prompt - low_confidence(rollouts.logps, rollouts.mask, self.share)
        groups = Groups.of(rollouts.group, signal)
        acts = groups.largest(signal) > 0
        if self.skip_solved:
            acts &= groups.smallest(signal) <= 0
        if self.only_correct:
            acts &= signal > 0
        return advantages + self.alpha * gap.where(acts, 0.0)[:, None]
