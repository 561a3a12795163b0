"""A fixed advantage for a correct completion and another for a wrong one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.slots import Advantage


@dataclass(frozen=True)
class Verdict(Advantage):
    """``A_i = correct`` where the signal exceeds ``threshold``, else ``wrong``; no baseline, no division.

    Reference: W-REINFORCE, arXiv 2506.01347.
    """

    correct: float = 1.0
    wrong: float = -1.0
    threshold: float = 0.5
    arxiv: ClassVar[str] = "2506.01347"

    def __call__(self, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B,)``."""
        verdict = torch.where(signal > self.threshold, self.correct, self.wrong).to(signal.dtype)
        return verdict.where(~torch.isnan(signal), torch.nan)
