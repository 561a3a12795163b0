"""Generalised advantage estimation with a critic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.slots import Advantage, masked


def generalised_advantages(signal: Tensor, values: Tensor, mask: Tensor, discount: float, trace: float) -> Tensor:
    """Return ``(B, T)`` float64: ``A_t = delta_t + discount * trace * A_{t+1}`` with
    ``delta_t = r_t + discount * V_{t+1} - V_t``; the reward ``signal`` ``(B,)`` comes with the last token.

    The next token is the next one in ``mask``, and after the last ``V`` and ``A`` are 0: what stands in ``values``
    outside the mask is never read.
    """
    known = masked(values.double(), mask)
    following, is_last = _next_token(known, mask)
    delta = torch.where(is_last, signal.double()[:, None], 0.0) + discount * following - known
    return _decayed_sum(masked(delta, mask), torch.where(mask, discount * trace, 1.0).double())


def _next_token(values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the value of the next token of ``mask``, 0 after the last, and which token is the last one."""
    length = mask.shape[1]
    place = torch.arange(length, device=mask.device).where(mask, length)
    here_or_later = place.flip(-1).cummin(-1).values.flip(-1)
    later = torch.nn.functional.pad(here_or_later[:, 1:], (0, 1), value=length)
    return torch.nn.functional.pad(values, (0, 1)).gather(1, later), mask & (later == length)


def _decayed_sum(terms: Tensor, decay: Tensor) -> Tensor:
    """Return ``x_t = terms_t + decay_t * x_{t+1}``, ``(B, T)``, in log2(T) doublings instead of T steps."""
    reach = 1
    while reach < terms.shape[1]:
        ahead = torch.nn.functional.pad(terms[:, reach:], (0, reach))
        terms = terms + decay * ahead
        decay = decay * torch.nn.functional.pad(decay[:, reach:], (0, reach))
        reach *= 2
    return terms


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
