"""Entropy-regularised policy optimisation for agents."""

from __future__ import annotations

from prefopt.online.advantage import GroupNormalised
from prefopt.online.aggregate import TokenMean
from prefopt.online.gate import Clip
from prefopt.online.objective import OnlineObjective
from prefopt.online.regularise import EntropyBand
from prefopt.recipes.registry import recipe


@recipe(
    kind="online",
    card="05/epo",
    confidence="A",
    arxiv="2509.22576",
    claim="A band around past entropy stops the swings between early and late turns that a plain bonus brings.",
)
def epo(
    coefficient: float = 1e-3,
    alpha: float = 0.1,
    low: float = 0.0,
    high: float = 2.0,
    steps: int = 150,
    gamma: float = 3.0,
    released: bool = False,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
) -> OnlineObjective:
    """GRPO with an entropy bonus, less a penalty for leaving a band around the mean entropy of the steps before.

    Write the run's own number of steps into ``steps``. ``released=True`` is the authors' code, whose penalty has no
    gradient, so that it trains as a plain entropy bonus does.
    """
    return OnlineObjective(
        advantage=GroupNormalised(),
        gate=Clip(clip_low, clip_high),
        aggregate=TokenMean(),
        regularise=(EntropyBand(coefficient, alpha, low, high, steps, gamma, released),),
    )
