"""Other ratios and other uses of the ratio."""

from __future__ import annotations

from prefopt.online.aggregate import TokenMean
from prefopt.online.gate import CISPO, Clip
from prefopt.online.objective import OnlineObjective
from prefopt.online.ratio import SequenceRatio
from prefopt.recipes.online.penalties import kl_penalty
from prefopt.recipes.registry import recipe


@recipe(
    kind="online",
    card="05/ratio",
    confidence="A",
    arxiv="2507.18071",
    claim="Clipping whole completions stabilises training, above all of mixture-of-experts policies.",
)
def gspo(clip_low: float = 3e-4, clip_high: float = 4e-4, beta: float = 0.0) -> OnlineObjective:
    """GRPO with the length-normalised ratio of the whole completion, clipped within a narrow band."""
    return OnlineObjective(ratio=SequenceRatio(), gate=Clip(clip_low, clip_high), regularise=kl_penalty(beta))


@recipe(
    kind="online",
    card="05/ratio",
    confidence="A",
    arxiv="2506.13585",
    claim="Capping the weight instead of clipping the update keeps the gradient of rare, decisive tokens.",
)
def cispo(cap: float = 5.0, beta: float = 0.0) -> OnlineObjective:
    """REINFORCE weighted by the detached, capped token ratio, with a mean over all tokens."""
    return OnlineObjective(gate=CISPO(cap), aggregate=TokenMean(), regularise=kl_penalty(beta))
