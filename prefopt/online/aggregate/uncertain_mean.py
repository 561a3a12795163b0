"""Mean over the tokens that the sampling policy was not sure of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.aggregate.token_mean import TokenMean
from prefopt.online.slots import Aggregate


def uncertain_tokens(mask: Tensor, logps: Tensor, certain: float) -> Tensor:
    """Return bool ``(B, T)``: tokens of ``mask`` with probability below ``certain``, or ``mask`` if there is none."""
    uncertain = mask & (logps.exp() < certain)
    return uncertain if uncertain.any() else mask


@dataclass(frozen=True)
class UncertainMean(Aggregate):
    """``w_{i,t} = 1 / n`` on the batch's n tokens of probability below ``certain`` under the behaviour policy, else 0.

    A token that had to come says nothing of the choice that led there. Where all are certain it is a mean over all.

    Attributes:
        certain: probability from which a token is left out.

    Reference: SPO, arXiv 2505.23564.
    """

    certain: float = 0.9
    arxiv: ClassVar[str] = "2505.23564"
    reads_rollouts: ClassVar[bool] = True

    def __call__(self, mask: Tensor, *_: Any, rollouts: Rollouts) -> Tensor:
        """Return ``(B, T)``."""
        return TokenMean()(uncertain_tokens(mask, rollouts.logps, self.certain))
