"""Beta normalisation."""

from __future__ import annotations

from prefopt.online.advantage import BetaNormalised
from prefopt.online.aggregate import SequenceSum
from prefopt.online.gate import Clip
from prefopt.online.objective import OnlineObjective
from prefopt.recipes.registry import recipe
from prefopt.weighting import AdvantageSum, WeightedSum


@recipe(
    kind="online",
    card="04/bnpo",
    confidence="A",
    arxiv="2506.02864",
    claim="A Beta density fitted to the batch's pass rates is a normaliser of lower variance than 1 or the deviation.",
)
def bnpo(
    decompose: bool = False,
    reward_min: float = 0.0,
    reward_max: float = 1.0,
    clip_low: float = 0.2,
    clip_high: float = 0.28,
) -> OnlineObjective:
    """Group-centred rewards over a Beta density of the group's pass rate, refitted each batch; tokens summed.

    ``decompose`` estimates the advantage of each reward alone and averages them. (TRL's ``loss_type="bnpo"`` is another
    thing: a mean over the tokens of a local batch.)
    """
    return OnlineObjective(
        weighting=AdvantageSum(average=True) if decompose else WeightedSum(),
        advantage=BetaNormalised(reward_min, reward_max),
        gate=Clip(clip_low, clip_high),
        aggregate=SequenceSum(),
    )
