"""The gradient estimator that supervised fine-tuning and policy gradients share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from prefopt.online.choice import check_choice
from prefopt.online.gate.clip import beyond
from prefopt.online.slots import Gate

Measure = Literal["policy", "behaviour", "one"]


@dataclass(frozen=True)
class UnifiedEstimator(Gate):
    """``A * pi / sg(pi_ref)``, of gradient ``A / pi_ref * grad pi``, where a clip at ``low`` and ``high`` is open.

    ``policy`` divides by the policy itself: REINFORCE, and supervised fine-tuning for ``A = 1``. ``behaviour``: PPO and
    GRPO. ``one`` divides by nothing, as methods do that mix in demonstrations of unknown probability; it weighs a token
    by its own probability, so that rare tokens of a demonstration are hardly learnt.

    Attributes:
        measure: what ``pi_ref`` is. low, high: bounds of the ratio to the behaviour policy; None = no clip.

    Reference: the unified policy gradient estimator, arXiv 2509.04419.
    """

    measure: Measure = "policy"
    low: float | None = None
    high: float | None = None
    arxiv: ClassVar[str] = "2509.04419"

    def __post_init__(self) -> None:
        check_choice("measure", self.measure, Measure)

    def __call__(self, ratio: Tensor, advantages: Tensor, logps: Tensor) -> Tensor:
        """Return ``(B, T)``."""
        weight = {"policy": (logps - logps.detach()).exp(), "behaviour": ratio, "one": logps.exp()}[self.measure]
        return torch.where(self.closed(ratio, advantages), (weight * advantages).detach(), weight * advantages)

    def closed(self, ratio: Tensor, advantages: Tensor) -> Tensor:
        """Return bool ``(B, T)``: tokens whose gradient the clip stops."""
        low, high = (torch.inf if width is None else width for width in (self.low, self.high))
        return beyond(ratio, advantages, 1 - low, 1 + high)
