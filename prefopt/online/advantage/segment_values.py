"""Differences of Monte Carlo values between the cuts of a completion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.segments import segment_advantages
from prefopt.online.slots import Advantage


@dataclass(frozen=True)
class SegmentValues(Advantage):
    """``A = V(right) - V(left)`` on the tokens of each segment between two cuts; the signal is the value of the end.

    A prefix before the first cut gets 0, as does a completion without cuts.

    Reference: SPO-chain, arXiv 2505.23564.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"cutpoint_values"})
    arxiv: ClassVar[str] = "2505.23564"
    token_level: ClassVar[bool] = True

    def __call__(self, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B, T)``."""
        found = segment_advantages(rollouts.extras["cutpoint_values"], rollouts.mask, signal)
        # An unscored row has an unknown end; it is left out as a whole, whatever its cuts say.
        return found.where(~signal.isnan()[:, None], float("nan")).to(signal.dtype)
