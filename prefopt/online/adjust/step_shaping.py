"""Advantages shaped by the potential of each reasoning step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.slots import Adjustment


def saturation(potentials: Tensor, saturated: float, alpha: float) -> Tensor:
    """Return ``f_k = 1 - alpha (1 - exp(-C_k))``, ``C_k`` = steps before k whose potential exceeds ``saturated``.

    ``potentials`` is ``(B, S)``, NaN where absent.
    """
    above = (potentials > saturated).double()
    return 1 - alpha * (1 - (-(above.cumsum(-1) - above)).exp())


def progress(potentials: Tensor, there: Tensor) -> Tensor:
    """Return ``g_k = exp(n_k) - mean exp(n)``, ``n`` the min-max normalised ``Phi_k - Phi_{k-1}`` of the steps there.

    The first step's difference is 0. All differences equal: 0. ``potentials`` and ``there`` are ``(B, S)``.
    """
    before = torch.nn.functional.pad(potentials[:, :-1], (1, 0))
    difference = (potentials - before).double()
    difference[:, 0] = 0
    seen = difference[there]
    if not len(seen) or seen.max() == seen.min():
        return torch.zeros_like(difference)
    growth = ((difference - seen.min()) / (seen.max() - seen.min())).exp()
    return growth - growth[there].mean()


@dataclass(frozen=True)
class StepShaping(Adjustment):
    """``A_t <- f_k A_t + xi g_k`` for a token t of step k; `saturation` ``f`` and `progress` ``g``.

    ``f`` damps what comes after the answer is settled, ``g`` rewards steps that bring it closer. Tokens after the last
    step with a potential get its ``f`` and no ``g``; that, and progress normalised over the whole batch, is
    reconstructed.

    Attributes:
        alpha: of the damping. xi: of the progress.
        saturated: potential from which the answer is settled; not stated, 0.9 is what the paper's script calls solved.

    Reference: SPAE, arXiv 2601.03823.
    """

    alpha: float = 0.5
    xi: float = 0.5
    saturated: float = 0.9
    needs: ClassVar[frozenset[str]] = frozenset({"step_potentials", "step_ids"})
    arxiv: ClassVar[str] = "2601.03823"

    def __call__(self, advantages: Tensor, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B, T)``."""
        potentials, mask = rollouts.extras["step_potentials"], rollouts.mask
        steps = (~torch.isnan(potentials)).long().cumprod(-1).sum(-1, keepdim=True)
        there = torch.arange(potentials.shape[1], device=mask.device) < steps
        there &= mask.any(-1, keepdim=True)
        damping = saturation(potentials, self.saturated, self.alpha)
        gain = progress(potentials.nan_to_num(), there)
        step = torch.where(mask, rollouts.extras["step_ids"].long(), 0).clamp(min=0)
        within = step < steps
        place = torch.minimum(step, (steps - 1).clamp(min=0))
        f = torch.where(steps > 0, damping.gather(1, place), 1.0)
        return f * advantages + self.xi * torch.where(within, gain.gather(1, place), 0.0)
