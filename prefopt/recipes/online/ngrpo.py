"""Negative-enhanced GRPO."""

from __future__ import annotations

from prefopt.online.advantage import VirtualMaximum
from prefopt.online.gate import Clip
from prefopt.online.objective import OnlineObjective
from prefopt.online.sampling import UnsolvedGroups
from prefopt.recipes.registry import recipe


@recipe(
    kind="online",
    card="04/ngrpo",
    confidence="A",
    arxiv="2509.18851",
    claim="Groups without a correct answer give a gradient; it helps with several updates a batch, not on-policy.",
)
def ngrpo(
    copies: int = 1, reward_max: float = 1.0, clip_low: float = 0.16, clip_high: float = 0.24, eps: float = 1e-6
) -> OnlineObjective:
    """GRPO with a virtual best completion in every group's statistics, an asymmetric clip, and no solved groups."""
    return OnlineObjective(
        advantage=VirtualMaximum(copies, reward_max, eps),
        gate=Clip(clip_low, clip_high),
        sampling=(UnsolvedGroups(reward_max),),
    )
