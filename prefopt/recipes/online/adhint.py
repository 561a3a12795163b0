"""Adaptive hints."""

from __future__ import annotations

from prefopt.online.advantage import HintedSets
from prefopt.online.gate import Clip
from prefopt.online.objective import OnlineObjective
from prefopt.online.token_weight import HintWeight
from prefopt.recipes.online.penalties import kl_penalty
from prefopt.recipes.registry import recipe


@recipe(
    kind="online",
    card="05/adhint",
    confidence="C",
    arxiv="2512.13095",
    claim="Hints by difficulty, without learning those of failures, help most and are imitated least.",
)
def adhint(clip_low: float = 0.2, clip_high: float = 0.2, beta: float = 0.0) -> OnlineObjective:
    """GRPO over unaided and hinted completions, judged apart and weighted by difficulty; hints count less.

    `prefopt.online.hints.hint_ratio` says how long a hint is; online training draws them from `reference_answer`. How
    entropies damp a hint's tokens, and how difficulties reweight, is reconstructed from a description in words.
    """
    return OnlineObjective(
        advantage=HintedSets(),
        token_weight=(HintWeight(),),
        gate=Clip(clip_low, clip_high),
        regularise=kl_penalty(beta),
    )
