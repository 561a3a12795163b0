"""Generalised advantage estimation with a critic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.slots import Advantage


def generalised_advantages(signal: Tensor, values: Tensor, mask: Tensor, discount: float, trace: float) -> Tensor:
    """Return ``(B, T)`` float64: ``A_t = delta_t + discount * trace * A_{t+1}`` with
    ``delta_t = r_t + discount * V_{t+1} - V_t``; the reward ``signal`` ``(B,)`` comes with the last token.

    The next token is the next one in ``mask``, and after the last ``V`` and ``A`` are 0: what stands in ``values``
    outside the mask is never read.
    """
    advantages = torch.zeros(mask.shape, dtype=torch.float64, device=mask.device)
    reward = signal.double()
    value = torch.zeros_like(reward)
    advantage = torch.zeros_like(reward)
    for t in range(mask.shape[1] - 1, -1, -1):
        here, now = mask[:, t], values[:, t].double()
        moved = reward + discount * value - now + discount * trace * advantage
        advantage = torch.where(here, moved, advantage)
        value = torch.where(here, now, value)
        reward = torch.where(here, torch.zeros_like(reward), reward)
        advantages[:, t] = advantage
    return advantages


@dataclass(frozen=True)
class GeneralisedAdvantage(Advantage):
    """``A_t = sum_{k >= 0} (discount * trace)^k * delta_{t+k}``, ``delta_t = r_t + discount * V_{t+1} - V_t``.

    The reward comes with the last token, ``V`` after it is 0. ``trace = 1, discount = 1`` is reward minus value;
    ``trace = 0`` trusts the critic alone.

    Attributes:
        discount: gamma. trace: lambda.

    Reference: PPO, arXiv 1707.06347 (generalised advantage estimation is arXiv 1506.02438).
    """

    discount: float = 1.0
    trace: float = 0.95
    needs: ClassVar[frozenset[str]] = frozenset({"values"})
    arxiv: ClassVar[str] = "1506.02438"
    token_level: ClassVar[bool] = True

    def __call__(self, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B, T)``."""
        values = rollouts.extras["values"]
        return generalised_advantages(signal, values, rollouts.mask, self.discount, self.trace).to(signal.dtype)
