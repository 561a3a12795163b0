"""A pull on own completions relative to how likely an expert's tokens are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from prefopt.batch import PolicyOutputs, Rollouts
from prefopt.online.choice import check_choice
from prefopt.online.slots import Regulariser, masked

Level = Literal["position", "mean"]


@dataclass(frozen=True)
class ExpertGuide(Regulariser):
    """``coefficient * |A_i| * LeakyReLU(-s_i * (log pi(y_{i,t}) - e_t))``, slope below 0.

    ``s = 1`` for a correct completion, else -1; ``e_t`` is the old log-probability of the expert's token at the same
    position. A correct completion is pulled up in full while it is less likely than the expert's, and by the slope
    beyond; a wrong one pushed down in full while it is more likely. ``|A|`` is rareness in the group. The term has no
    lower bound, as the slope never ends. Positions after the expert's end have no guide.

    Attributes:
        coefficient: weight. slope: of the leak. correct_above: a completion is correct beyond this signal.
        level: ``position`` compares tokens of different texts at equal places, as the paper does; ``mean`` compares
            with the expert's mean.

    Reference: CalibRL, arXiv 2602.20197.
    """

    coefficient: float = 0.1
    slope: float = 0.5
    correct_above: float = 0.1
    level: Level = "position"
    needs: ClassVar[frozenset[str]] = frozenset({"expert_logps"})
    arxiv: ClassVar[str] = "2602.20197"

    def __post_init__(self) -> None:
        check_choice("level", self.level, Level)

    def carry(self, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``s`` ``(B, 1)``."""
        return torch.where(signal > self.correct_above, 1.0, -1.0)[:, None]

    def __call__(
        self, policy: PolicyOutputs, rollouts: Rollouts, ratio: Tensor, advantages: Tensor, *_: Any, carried: Tensor
    ) -> Tensor:
        """Return ``(B, T)``."""
        expert = rollouts.extras["expert_logps"].to(policy.logps)
        if self.level == "mean":
            expert = expert.nanmean(-1, keepdim=True).expand(policy.logps.shape)
        there = rollouts.mask & ~torch.isnan(expert)
        gap = masked(policy.logps, there) - masked(expert, there)
        guide = torch.nn.functional.leaky_relu(-carried.to(gap) * gap, self.slope)
        return self.coefficient * advantages.abs() * masked(guide, there)
