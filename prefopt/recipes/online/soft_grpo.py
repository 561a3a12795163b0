"""GRPO for soft thought tokens."""

from __future__ import annotations

from prefopt.online.gate import Clip
from prefopt.online.objective import OnlineObjective
from prefopt.online.ratio import GumbelRatio
from prefopt.online.regularise import GumbelKL
from prefopt.recipes.registry import recipe


@recipe(
    kind="online",
    card="05/soft_grpo",
    confidence="A",
    arxiv="2511.06411",
    claim="The density of the noise behind a soft thought can be learnt from; that of its likeliest token can not.",
)
def soft_grpo(
    beta: float = 1e-3, joint: bool = False, clip_low: float = 0.2, clip_high: float = 0.2
) -> OnlineObjective:
    """GRPO whose log-probability of a soft thought token is the Gumbel log-density of its stored, perturbed values.

    Answer tokens are ordinary ones. Sampling is `prefopt.online.gumbel`: five tokens, temperature 0.1. ``joint=True``
    takes the density of all stored tokens together, where the paper takes their mean.
    """
    return OnlineObjective(
        ratio=GumbelRatio(joint),
        gate=Clip(clip_low, clip_high),
        regularise=(GumbelKL(beta, joint),) if beta else (),
    )
