"""Hinted and unaided completions of a prompt, judged apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.groups import Groups
from prefopt.online.slots import Advantage


@dataclass(frozen=True)
class HintedSets(Advantage):
    """z-scores within the unaided and within the hinted completions of a prompt, then ``A <- (1 + delta) A`` where an
    unaided one succeeded (A > 0) or a hinted one failed (A < 0)::

        delta = clip(mean reward of the hinted - mean reward of the unaided, 0, 1)

    That is the difference of the two difficulties: success on the harder side and failure on the easier one tell more.
    A set whose rewards are all equal gives 0, one with fewer than two scored rows NaN; where a set is missing delta is
    0. The paper says what is compared and in which direction; the formula is reconstructed.

    Attributes:
        ddof: 1 = unbiased standard deviation. eps: added to it.

    Reference: ADHint, arXiv 2512.13095.
    """

    ddof: int = 1
    eps: float = 1e-6
    needs: ClassVar[frozenset[str]] = frozenset({"hint_length"})
    arxiv: ClassVar[str] = "2512.13095"
    group_relative: ClassVar[bool] = True

    def __call__(self, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B,)``."""
        hinted = rollouts.extras["hint_length"] > 0
        side = torch.unique(torch.stack([rollouts.group, hinted.to(rollouts.group)], -1), dim=0, return_inverse=True)[1]
        sets = Groups.of(side, signal)
        scored = sets.z_score(signal, self.ddof, self.eps)
        with_hint, without = (
            Groups.of(rollouts.group, signal.where(rows, torch.nan)).mean(signal) for rows in (hinted, ~hinted)
        )
        delta = (with_hint - without).clamp(0, 1).nan_to_num()
        telling = torch.where(hinted, scored < 0, scored > 0)
        found = torch.where(telling, (1 + delta) * scored, scored)
        return found.where(sets.compared, torch.nan).to(signal.dtype)
