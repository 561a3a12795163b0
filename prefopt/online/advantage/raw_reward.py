"""The reward itself as the advantage."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.slots import Advantage


@dataclass(frozen=True)
class RawReward(Advantage):
    """``A_i = r_i``: REINFORCE without a baseline (Williams, 1992). Unbiased, and the noisiest of all."""

    def __call__(self, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``signal`` ``(B,)``."""
        return signal
