"""Learn from one sign of the advantage only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.choice import check_choice
from prefopt.online.slots import TokenWeight

Sign = Literal["negative", "positive"]


@dataclass(frozen=True)
class OneSign(TokenWeight):
    """1 where the advantage has the wanted sign, else 0; the denominator of the loss stays as it is.

    ``negative`` pushes below-average completions down and lets the probability go wherever it goes; ``positive`` is
    a ReLU on the advantage.
    """

    sign: Sign = "negative"

    def __post_init__(self) -> None:
        check_choice("sign", self.sign, Sign)

    def __call__(self, advantages: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B, T)``."""
        return (torch.signbit(advantages) & (advantages != 0) if self.sign == "negative" else advantages > 0).float()
