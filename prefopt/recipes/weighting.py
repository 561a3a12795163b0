"""Weighting recipes: K rewards to one signal. Each composes a whole objective; any other recipe can take its slot."""

from __future__ import annotations

from prefopt.online.advantage import GroupNormalised
from prefopt.online.objective import OnlineObjective
from prefopt.recipes.registry import recipe
from prefopt.weighting import GDPO, AdvantageSum


@recipe(
    kind="weighting",
    card="02/4",
    confidence="B",
    arxiv="2509.22047",
    claim="GRPO of the sum optimises only the reward of highest variance; sums of z-scores optimise all.",
)
def mo_grpo(ddof: int = 0, eps: float = 1e-6) -> OnlineObjective:
    """GRPO on the sum of each reward's own group z-score.

    Kind of standard deviation and eps are not established by the sources; population and 1e-6 are our choice.
    """
    return OnlineObjective(weighting=AdvantageSum(), advantage=GroupNormalised(ddof, eps))


@recipe(
    kind="weighting",
    card="02/5",
    confidence="A",
    arxiv="2601.05242",
    claim="Normalising each reward before adding keeps more distinct advantages than GRPO, so that all rewards rise.",
)
def gdpo(weights: tuple[float, ...] | None = None, ddof: int = 1, eps: float = 1e-4) -> OnlineObjective:
    """GRPO on the weighted sum of each reward's own group z-score, whitened over the batch."""
    weights = None if weights is None else tuple(weights)
    return OnlineObjective(weighting=GDPO(weights, eps), advantage=GroupNormalised(ddof, eps))
