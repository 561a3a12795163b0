"""Harder questions count more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.groups import Groups
from prefopt.online.slots import Adjustment


@dataclass(frozen=True)
class Difficulty(Adjustment):
    """``A <- n softmax_s(-accuracy_s / temperature) A`` over the ``n`` groups ``s`` of the batch whose rewards differ.

    ``accuracy_s`` is the group's mean of one reward source. A group without a correct answer, whose rewards differ only
    through other sources, is taken as accuracy 1, so that it gets the least weight. The weights have mean 1; groups
    whose rewards are all equal, or that the source did not score, keep weight 1 and are not counted.

    Attributes:
        temperature: a larger one evens the weights out.
        source: number of the reward source that says whether an answer is correct, from 0.

    Reference: DGPO of MathForge, arXiv 2601.20614.
    """

    temperature: float = 2.0
    source: int = 0
    arxiv: ClassVar[str] = "2601.20614"

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature must be positive, not {self.temperature}")

    def __call__(self, advantages: Tensor, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B, T)``. Raises ``ValueError`` where there is no such source."""
        if not 0 <= self.source < rollouts.rewards.shape[1]:
            raise ValueError(
                f"source {self.source} is to say which answers are correct, and the rewards have "
                f"{rollouts.rewards.shape[1]} sources, numbered from 0"
            )
        verdicts = rollouts.rewards[:, self.source].where(~torch.isnan(signal), torch.nan)
        accuracy = Groups.of(rollouts.group, verdicts).mean(verdicts)
        accuracy = accuracy.where(accuracy != 0, 1.0)
        groups = Groups.of(rollouts.group, signal)
        counted = groups.scored & ~groups.uniform(signal) & ~torch.isnan(accuracy)
        once = groups.representative
        judged = groups.total(counted.double()) > 0
        energies = (-accuracy / self.temperature)[once & judged]
        if energies.numel() == 0:
            return advantages
        weight = (-accuracy / self.temperature - energies.logsumexp(0)).exp() * energies.numel()
        return advantages * weight.where(judged, 1.0)[:, None]
