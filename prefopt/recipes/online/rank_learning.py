"""Velocity-exploiting rank learning."""

from __future__ import annotations

from prefopt.online.adjust import RankBonus
from prefopt.online.adjust.rank_bonus import Reach
from prefopt.online.advantage import GroupNormalised
from prefopt.online.gate import Clip
from prefopt.online.objective import OnlineObjective
from prefopt.recipes.online.penalties import kl_penalty
from prefopt.recipes.registry import recipe


@recipe(
    kind="online",
    card="04/rank_learning",
    confidence="A",
    arxiv="2509.23808",
    claim="Rank and its velocity are nearly uncorrelated; shaping by both improves pass@1 and pass@k.",
)
def rank_learning(
    gain: float = 2.0,
    kappa: float = 2.0,
    reach: Reach = "sequence",
    scored: bool = False,
    stride: int = 40,
    window: int = 512,
    momentum: float = 0.7,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    beta: float = 0.0,
    ddof: int = 1,
    eps: float = 1e-6,
) -> OnlineObjective:
    """GRPO plus a bonus for completions whose hidden states have a higher rank, or gain it faster, than usual.

    Not the verl library. ``reach="last_token"`` is what the released code does. The paper's KL coefficient is 0.001.
    """
    return OnlineObjective(
        advantage=GroupNormalised(ddof, eps),
        adjust=(RankBonus(gain, kappa, reach, scored, stride, window, momentum),),
        gate=Clip(clip_low, clip_high),
        regularise=kl_penalty(beta),
    )
