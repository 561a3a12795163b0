"""Aggregations that count the policy's own completions and an expert's apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.aggregate.lengths import row_lengths, spread
from prefopt.online.slots import Aggregate


@dataclass(frozen=True)
class PromptMean(Aggregate):
    """``w_{i,t} = 1 / (prompts * n_i * T_i)``, ``n_i`` the rows of the prompt that have the same origin as row i.

    A mean over prompts of a mean over own completions, plus one of a mean over the expert's.

    Attributes:
        own: factor on own completions.
    """

    own: float = 1.0
    needs: ClassVar[frozenset[str]] = frozenset({"from_expert"})
    reads_rollouts: ClassVar[bool] = True

    def __call__(self, mask: Tensor, *_: Any, rollouts: Rollouts) -> Tensor:
        """Return ``(B, T)``."""
        there, expert = mask.any(-1), rollouts.extras["from_expert"]
        origin = torch.unique(torch.stack([rollouts.group, expert.to(rollouts.group)], -1), dim=0, return_inverse=True)
        beside = (origin[1][:, None] == origin[1][None, :]) & there[None, :]
        rows = beside.sum(-1, keepdim=True).double().clamp(min=1)
        prompts = max(len(rollouts.group[there].unique()), 1)
        factor = torch.where(expert, 1.0, self.own).double()[:, None]
        return spread(factor / (prompts * rows * row_lengths(mask).clamp(min=1)), mask)


@dataclass(frozen=True)
class HybridSum(Aggregate):
    """``1 / max_length`` on tokens of own completions, ``1 / n`` on the ``n`` tokens of experts: a sum and a mean.

    Attributes:
        max_length: longest completion that can be generated. The trainer fills it in; None takes the batch's longest.

    Reference: HPT, arXiv 2509.04419.
    """

    max_length: int | None = None
    needs: ClassVar[frozenset[str]] = frozenset({"from_expert"})
    arxiv: ClassVar[str] = "2509.04419"
    reads_rollouts: ClassVar[bool] = True

    def __call__(self, mask: Tensor, *_: Any, rollouts: Rollouts) -> Tensor:
        """Return ``(B, T)``."""
        expert = rollouts.extras["from_expert"][:, None]
        lengths = row_lengths(mask)
        longest = self.max_length or lengths.max().clamp(min=1)
        tokens = (mask & expert).sum().double().clamp(min=1)
        return spread(torch.where(expert, 1 / tokens, torch.ones_like(lengths) / longest), mask)
