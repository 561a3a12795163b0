"""More weight to positions at which the completions of a prompt part ways."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.groups import Groups
from prefopt.online.slots import TokenWeight


@dataclass(frozen=True)
class DivergentPositions(TokenWeight):
    """``w_t = 1 + (alpha - 1) * (D_t - min D) / (max D - min D + 1e-8)``, the same for all completions of a prompt.

    ``D_t`` is `prefopt.online.group_divergence` at position t; least and largest are over the positions at which the
    prompt has a token. Where all are equal the weight is 1. Position t is compared across different prefixes. The
    weights of the released code carry gradient; these do not.

    Attributes:
        alpha: weight of the position that differs most.

    Reference: TW-GRPO, arXiv 2505.24718.
    """

    alpha: float = 1.7
    needs: ClassVar[frozenset[str]] = frozenset({"group_divergence"})
    arxiv: ClassVar[str] = "2505.24718"

    def __call__(self, advantages: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B, T)``."""
        divergence, mask = rollouts.extras["group_divergence"].double(), rollouts.mask
        taking_part = torch.zeros(len(mask), dtype=torch.float64, device=mask.device)
        groups = Groups.of(rollouts.group, taking_part.where(mask.any(-1), torch.nan))
        least = groups.smallest(divergence.masked_fill(~mask, torch.inf).amin(-1))[:, None]
        largest = groups.largest(divergence.masked_fill(~mask, -torch.inf).amax(-1))[:, None]
        relative = (divergence - least) / (largest - least + 1e-8)
        return 1 + (self.alpha - 1) * relative.where(mask, 0.0)
