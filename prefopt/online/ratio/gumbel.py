"""Importance ratio of soft thought tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from prefopt.online.gumbel import soft_log_ratio, soft_positions
from prefopt.online.slots import Ratio


@dataclass(frozen=True)
class GumbelRatio(Ratio):
    """``exp`` of the difference of Gumbel log-densities at a soft token, ``pi / pi_old`` at an ordinary one.

    Attributes:
        joint: the density of all stored tokens together, not their mean.

    Reference: SofT-GRPO, arXiv 2511.06411.
    """

    joint: bool = False
    needs: ClassVar[frozenset[str]] = frozenset({"soft_values", "soft_logps", "policy.soft_logps"})
    arxiv: ClassVar[str] = "2511.06411"

    def __call__(self, logps: Tensor, old_logps: Tensor, mask: Tensor, *_: Any, **inputs: Any) -> Tensor:
        """Return ``(B, T)``; ``inputs`` are ``policy`` and ``rollouts``."""
        extras = inputs["rollouts"].extras
        values = extras["soft_values"].to(logps)
        soft = soft_positions(values, mask)
        new, old = inputs["policy"].extras["soft_logps"].to(logps), extras["soft_logps"].to(logps)
        return torch.where(soft, soft_log_ratio(new, old, values, soft, self.joint), logps - old_logps).exp()
