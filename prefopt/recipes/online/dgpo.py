"""Difficulty-aware group policy optimisation."""

from __future__ import annotations

from prefopt.online.adjust import Difficulty
from prefopt.online.advantage import MeanAbsoluteNormalised
from prefopt.online.aggregate import TokenMean
from prefopt.online.gate import Clip
from prefopt.online.objective import OnlineObjective
from prefopt.online.sampling import InformativeGroups
from prefopt.recipes.online.penalties import kl_penalty
from prefopt.recipes.registry import recipe


@recipe(
    kind="online",
    card="04/dgpo",
    confidence="A",
    arxiv="2601.20614",
    aliases=("mathforge",),
    claim="Updates no longer peak at a pass rate of one half, and hard questions gain.",
)
def dgpo(
    temperature: float = 2.0,
    accuracy_source: int = 0,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    beta: float = 0.0,
    eps: float = 1e-4,
) -> OnlineObjective:
    """GRPO over the mean absolute deviation, harder questions weighted up, a mean over valid tokens.

    ``accuracy_source`` is the number of the reward source by which difficulty is judged. Valid tokens are those
    of groups whose rewards differ; the other groups are left out.
    """
    return OnlineObjective(
        advantage=MeanAbsoluteNormalised(eps),
        adjust=(Difficulty(temperature, accuracy_source),),
        gate=Clip(clip_low, clip_high),
        aggregate=TokenMean(),
        regularise=kl_penalty(beta),
        sampling=(InformativeGroups(of_signal=True),),
    )
