"""The KL penalty inside the reward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.slots import Adjustment, masked


@dataclass(frozen=True)
class KLToGo(Adjustment):
    """``A_t <- A_t - beta * sum_{s >= t} (log pi_old(y_s) - log pi_ref(y_s))``.

    Each token is charged the k1 estimate of the divergence that it and the tokens after it bring, as if it were a
    reward of theirs (discount 1).

    Attributes:
        beta: coefficient.

    Reference: REINFORCE++, arXiv 2501.03262.
    """

    beta: float = 0.01
    needs: ClassVar[frozenset[str]] = frozenset({"ref_logps"})
    arxiv: ClassVar[str] = "2501.03262"

    def __call__(self, advantages: Tensor, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B, T)``."""
        gap = masked(rollouts.logps.double() - rollouts.extras["ref_logps"].double(), rollouts.mask)
        return advantages - self.beta * gap.flip(-1).cumsum(-1).flip(-1)
