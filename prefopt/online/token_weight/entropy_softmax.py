"""A group's completions weighted by a softmax of advantage and entropy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.choice import check_choice
from prefopt.online.groups import Groups
from prefopt.online.slots import TokenWeight, masked

Level = Literal["step", "trajectory"]


@dataclass(frozen=True)
class EntropySoftmax(TokenWeight):
    """``w_{i,t} = n_t * softmax_i((A_{i,t} + alpha * H_{i,t}) / temperature)`` over the group's completions.

    ``n_t`` is how many of them have a token at position t, so that the weights have mean 1 there and an infinite
    temperature is no weighting at all. ``trajectory`` takes a completion's mean advantage and mean entropy and gives
    all its tokens one weight. High advantages gain exponentially over low ones: wrong answers are unlearned less. That
    the softmax takes the place of 1/G, and that it is detached, are readings of the paper.

    Attributes:
        alpha: weight of the entropy. temperature: the paper tunes both. level: ``step`` or ``trajectory``.

    Reference: EGSW, arXiv 2503.22456.
    """

    alpha: float = 0.3
    temperature: float = 1.0
    level: Level = "step"
    needs: ClassVar[frozenset[str]] = frozenset({"entropies"})
    arxiv: ClassVar[str] = "2503.22456"

    def __post_init__(self) -> None:
        check_choice("level", self.level, Level)
        if not self.temperature > 0:
            raise ValueError(f"temperature must be positive, not {self.temperature}")

    def __call__(self, advantages: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B, T)``."""
        mask = rollouts.mask
        energy = (advantages.double() + self.alpha * masked(rollouts.extras["entropies"].double(), mask)).where(
            mask, 0.0
        )
        present = mask
        if self.level == "trajectory":
            length = mask.sum(-1, keepdim=True)
            energy, present = energy.sum(-1, keepdim=True) / length.clamp(min=1), length > 0
        energy = (energy / self.temperature).where(present, -torch.inf)
        groups = Groups.of(rollouts.group, torch.zeros(len(mask), device=mask.device))
        highest = groups.column_largest(energy)
        share = (energy - highest.where(torch.isfinite(highest), 0.0)).exp()
        total = groups.column_total(share)
        weight = groups.column_total(present) * share / total.where(total > 0, 1.0)
        return weight.expand(mask.shape)
