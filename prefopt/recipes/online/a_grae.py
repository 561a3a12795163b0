"""Asymmetric group-relative advantages."""

from __future__ import annotations

from prefopt.online.adjust import Asymmetry
from prefopt.online.adjust.asymmetry import EasyTerm
from prefopt.online.advantage import GroupNormalised
from prefopt.online.gate import Clip
from prefopt.online.objective import OnlineObjective
from prefopt.recipes.online.penalties import kl_penalty
from prefopt.recipes.registry import recipe


@recipe(
    kind="online",
    card="04/a_grae",
    confidence="A",
    arxiv="2602.05548",
    claim="Entropy does not collapse and pass@k rises, at slightly slower accuracy.",
)
def a_grae(
    alpha: float = 1.0,
    easy: EasyTerm = "paper",
    reward_min: float = 0.0,
    reward_max: float = 1.0,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    beta: float = 0.0,
    ddof: int = 1,
    eps: float = 1e-6,
) -> OnlineObjective:
    """GRPO whose focus moves from easy to hard groups as the batch's mean reward rises, and damps positives till then.

    ``easy="released"`` is the code's easy term. (The published scripts never switch the method on.)
    """
    return OnlineObjective(
        advantage=GroupNormalised(ddof, eps),
        adjust=(Asymmetry(alpha, easy, reward_min, reward_max),),
        gate=Clip(clip_low, clip_high),
        regularise=kl_penalty(beta),
    )
