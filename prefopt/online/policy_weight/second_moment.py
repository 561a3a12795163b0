"""Leave out the tokens that carry the second moment of the log-ratio beyond a bound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from prefopt.batch import PolicyOutputs, Rollouts
from prefopt.online.second_moment import harmful, squared_log_ratios
from prefopt.online.slots import PolicyWeight, Scope


@dataclass(frozen=True)
class SecondMomentMask(PolicyWeight):
    """0 for the tokens of largest ``(log rho)^2`` in ``H``, until ``mean_H (log rho)^2 <= threshold``; 1 elsewhere.

    ``H`` are the mini-batch's tokens that moved the way they are pushed: ``A > 0`` and ``rho > 1``, or ``A < 0`` and
    ``rho < 1``. Sorted ascending, the longest prefix whose mean is within the threshold stays; it may be empty. The
    loss still counts all tokens.

    Attributes:
        threshold: on the second moment, nats squared.
        harmful_only: False ranks all tokens with an advantage, whichever way they moved, as AReaL does.

    Reference: M2PO, algorithm 1 of arXiv 2510.01161. The released code caps instead of leaving out:
    `prefopt.online.gate.SecondMomentClip`.
    """

    threshold: float = 0.04
    harmful_only: bool = True
    arxiv: ClassVar[str] = "2510.01161"
    scope: ClassVar[Scope] = "batch"

    def __call__(self, ratio: Tensor, advantages: Tensor, policy: PolicyOutputs, rollouts: Rollouts) -> Tensor:
        """Return ``(B, T)``, 0 or 1."""
        ranked = harmful(ratio, advantages) if self.harmful_only else advantages != 0
        values, order = squared_log_ratios(ratio, ranked.shape)[ranked].double().sort()
        means = values.cumsum(0) / torch.arange(1, len(values) + 1, device=values.device)
        kept = torch.ones_like(advantages)
        kept[ranked] = torch.zeros_like(values).scatter(0, order, (means <= self.threshold).double()).to(kept)
        return kept
