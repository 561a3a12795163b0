"""A group counts by whether longer answers, or answers at all, succeed there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.choice import check_choice
from prefopt.online.groups import Groups
from prefopt.online.slots import Adjustment

Criterion = Literal["length", "difficulty", "and", "or"]


@dataclass(frozen=True)
class LengthAdvantage(Adjustment):
    """``A <- advantaged * A`` in groups that are worth learning from now, ``A <- others * A`` elsewhere.

    ``length``: the longest success is longer than the mean failure (of those shorter than ``length_cap``).
    ``difficulty``: the pass rate is at most ``pass_rate``. ``and``, ``or``: both, or any of the two.

    Attributes:
        advantaged, others: the two factors.
        correct_above: a completion is a success if its reward exceeds this.
        length_cap: failures of this many tokens or more do not count in the mean; None = all count.
        criterion: which groups are advantaged.
        pass_rate: of the difficulty criterion.
        without_failures: whether a group with successes and without a failure that counts has the length advantage.
        without_successes: whether a group without any success has it.

    Reference: ADORA, arXiv 2602.10019.
    """

    advantaged: float = 1.0
    others: float = 0.1
    correct_above: float = 0.5
    length_cap: int | None = None
    criterion: Criterion = "length"
    pass_rate: float = 0.5
    without_failures: bool = False
    without_successes: bool = True
    arxiv: ClassVar[str] = "2602.10019"

    def __post_init__(self) -> None:
        check_choice("criterion", self.criterion, Criterion)

    def __call__(self, advantages: Tensor, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B, T)``."""
        success = signal > self.correct_above
        longer = self._longer(success, signal, rollouts)
        hard = Groups.of(rollouts.group, signal).mean(success) <= self.pass_rate
        chosen = {"length": longer, "difficulty": hard, "and": longer & hard, "or": longer | hard}[self.criterion]
        return advantages * torch.where(chosen, self.advantaged, self.others)[:, None]

    def _longer(self, success: Tensor, signal: Tensor, rollouts: Rollouts) -> Tensor:
        length = rollouts.mask.sum(-1).double()
        failure = ~success & ~torch.isnan(signal)
        if self.length_cap is not None:
            failure &= length < self.length_cap
        longest = Groups.of(rollouts.group, length.where(success, torch.nan)).largest(length)
        failures = Groups.of(rollouts.group, length.where(failure, torch.nan))
        compared = longest > failures.mean(length)
        compared = torch.where(failures.count > 0, compared, self.without_failures)
        return torch.where(torch.isfinite(longest), compared, self.without_successes)
