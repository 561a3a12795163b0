"""Entropy-guided sequence weighting."""

from __future__ import annotations

from prefopt.online.gate import Clip
from prefopt.online.objective import OnlineObjective
from prefopt.online.token_weight import EntropySoftmax
from prefopt.online.token_weight.entropy_softmax import Level
from prefopt.recipes.online.penalties import kl_penalty
from prefopt.recipes.registry import recipe


@recipe(
    kind="online",
    card="04/egsw",
    confidence="B",
    arxiv="2503.22456",
    claim="Better sample efficiency than GRPO: a faster start from a wrong dominant answer.",
)
def egsw(
    alpha: float = 0.3,
    temperature: float = 1.0,
    level: Level = "step",
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    beta: float = 0.0,
) -> OnlineObjective:
    """GRPO whose completions are weighted by a softmax of advantage and entropy instead of evenly.

    ``alpha`` and ``temperature``, which the paper tunes, are our choice; that the weights take the place of 1/G, and
    carry no gradient, is reconstructed.
    """
    return OnlineObjective(
        token_weight=(EntropySoftmax(alpha, temperature, level),),
        gate=Clip(clip_low, clip_high),
        regularise=kl_penalty(beta),
    )
