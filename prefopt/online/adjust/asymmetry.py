"""Positive and negative, easy and hard, told apart by how well the batch does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.choice import check_choice
from prefopt.online.groups import Groups
from prefopt.online.slots import Adjustment
from prefopt.online.unit_interval import to_unit_interval

EasyTerm = Literal["paper", "released"]


@dataclass(frozen=True)
class Asymmetry(Adjustment):
    """``A <- (w/2) A / sqrt(p) + ((1 - w)/2) A / easy(p)``, then ``A <- min(1, w / alpha) A`` where it is positive.

    ``p`` is the group's mean reward and ``w`` that of the whole batch, both on [0, 1]. The first term favours hard
    groups, the second easy ones, so that the focus moves from easy to hard as the policy improves; while it is weak,
    positive advantages are damped. Groups with ``p`` 0 or 1 give 0.

    Attributes:
        alpha: mean reward from which positive advantages count in full; 1 for mathematics, 0.5 for geometry with
            pictures and medical questions in the released settings.
        easy: ``paper`` divides by ``sqrt(1 - p)``; ``released`` by ``1 - sqrt(p)``, as the code does.
        reward_min, reward_max: range of the signal, mapped to [0, 1].

    Reference: A-GRAE, arXiv 2602.05548.
    """

    alpha: float = 1.0
    easy: EasyTerm = "paper"
    reward_min: float = 0.0
    reward_max: float = 1.0
    arxiv: ClassVar[str] = "2602.05548"

    def __post_init__(self) -> None:
        check_choice("easy", self.easy, EasyTerm)
        if not self.alpha > 0:
            raise ValueError(f"alpha must be positive, not {self.alpha}")

    def __call__(self, advantages: Tensor, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B, T)``. Raises ``ValueError`` where a reward lies outside the range."""
        rewards = to_unit_interval(signal, self.reward_min, self.reward_max, type(self).__name__)
        groups = Groups.of(rollouts.group, rewards)
        rate, batch_rate = groups.mean(rewards), rewards.nanmean()
        easy = (1 - rate).sqrt() if self.easy == "paper" else 1 - rate.sqrt()
        factor = batch_rate / 2 / rate.sqrt() + (1 - batch_rate) / 2 / easy
        factor = factor.where((rate > 0) & (rate < 1), 0.0)[:, None]
        damped = torch.where(advantages > 0, (batch_rate / self.alpha).clamp(max=1), 1.0)
        return advantages * factor * damped
