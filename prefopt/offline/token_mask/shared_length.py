"""Tokens beyond the shorter response's length count less."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from prefopt.batch import Pairs
from prefopt.offline.slots import TokenMask


@dataclass(frozen=True)
class SharedLength(TokenMask):
    """``logp = sum_{t <= n} logp_t + alpha * sum_{t > n} logp_t`` with ``n = min(Tw, Tl)``, for policy and reference.

    Attributes:
        alpha: weight of the longer response's tail, in [0, 1]; 1 leaves all tokens alike.

    Reference: LD-DPO, arXiv 2409.06411.
    """

    alpha: float = 0.5
    arxiv: ClassVar[str] = "2409.06411"

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha must be in [0, 1], not {self.alpha}")

    def __call__(self, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """Return ``(N, Tc)`` and ``(N, Tr)``, ones up to the shared length and ``alpha`` beyond."""
        shared = torch.minimum(pairs.chosen_mask.sum(-1, keepdim=True), pairs.rejected_mask.sum(-1, keepdim=True))

        def weights(mask: Tensor) -> Tensor:
            return torch.where(mask.cumsum(-1) <= shared, 1.0, self.alpha)

        return weights(pairs.chosen_mask), weights(pairs.rejected_mask)
