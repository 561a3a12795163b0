"""Own completions of a prompt, or the expert's, by how many of its own succeed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.groups import Groups
from prefopt.online.slots import Sampling


@dataclass(frozen=True)
class DemonstrationSwitch(Sampling):
    """Keep the expert's rows of a prompt with at most ``most`` own successes, and its own rows otherwise.

    Attributes:
        most: successes up to which the policy is shown instead of left to try.
        correct_above: a success has a larger signal.
        drop_solved: keep nothing of a prompt all of whose own completions succeed.

    Reference: HPT, arXiv 2509.04419.
    """

    most: int = 0
    correct_above: float = 0.5
    drop_solved: bool = False
    needs: ClassVar[frozenset[str]] = frozenset({"from_expert"})
    arxiv: ClassVar[str] = "2509.04419"

    def __call__(self, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B,)`` bool."""
        expert = rollouts.extras["from_expert"]
        own = Groups.of(rollouts.group, signal.where(~expert, torch.nan))
        successes = own.total(signal > self.correct_above)
        kept = torch.where(successes <= self.most, expert, ~expert)
        return kept & ~(self.drop_solved & (successes == own.count))
