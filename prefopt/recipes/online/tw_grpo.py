"""Token-level weighted GRPO."""

from __future__ import annotations

from prefopt.online.advantage import GroupNormalised
from prefopt.online.aggregate import TokenMean
from prefopt.online.gate import Clip
from prefopt.online.objective import OnlineObjective
from prefopt.online.token_weight import DivergentPositions
from prefopt.recipes.online.penalties import kl_penalty
from prefopt.recipes.registry import recipe


@recipe(
    kind="online",
    card="04/tw_grpo",
    confidence="A",
    arxiv="2505.24718",
    claim="Weights concentrate where completions diverge, and shared prefixes stop counting for more than they say.",
)
def tw_grpo(
    alpha: float = 1.7,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    beta: float = 0.0,
    ddof: int = 1,
    eps: float = 1e-4,
) -> OnlineObjective:
    """GRPO with a mean over all tokens, weighted by how much the group's next-token distributions differ at each place.

    Its partial credit for option sets is a reward source.
    """
    return OnlineObjective(
        advantage=GroupNormalised(ddof, eps),
        token_weight=(DivergentPositions(alpha),),
        gate=Clip(clip_low, clip_high),
        aggregate=TokenMean(),
        regularise=kl_penalty(beta),
    )
