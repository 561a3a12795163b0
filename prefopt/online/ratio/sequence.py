"""Importance ratio of a whole completion, normalised by its length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from prefopt.online.slots import Ratio


@dataclass(frozen=True)
class SequenceRatio(Ratio):
    """``s_i = exp(mean_t (log pi - log pi_old))``, the geometric mean of the token ratios, shape ``(B, 1)``.

    Its gradient gives every token ``s_i / T_i``. With a token mean, long completions count more: the surrogate of a
    completion is then summed once for each of its tokens.

    Reference: GSPO, arXiv 2507.18071.
    """

    arxiv: ClassVar[str] = "2507.18071"
    sequence_level: ClassVar[bool] = True

    def __call__(self, logps: Tensor, old_logps: Tensor, mask: Tensor) -> Tensor:
        """Return ``(B, 1)``."""
        length = mask.sum(-1, keepdim=True).clamp(min=1)
        return ((logps - old_logps).sum(-1, keepdim=True) / length).exp()
