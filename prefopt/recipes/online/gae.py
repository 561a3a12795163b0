"""PPO with a critic."""

from __future__ import annotations

from prefopt.online.adjust import Whitened
from prefopt.online.advantage import GeneralisedAdvantage
from prefopt.online.aggregate import TokenMean
from prefopt.online.gate import Clip
from prefopt.online.objective import OnlineObjective
from prefopt.online.regularise import ValueLoss
from prefopt.online.slots import Regulariser
from prefopt.recipes.online.penalties import kl_penalty
from prefopt.recipes.registry import recipe


@recipe(
    kind="online",
    card="04/baselines",
    confidence="A",
    arxiv="1707.06347",
    aliases=("ppo",),
    claim="A critic's values give each token its own credit, with less variance than the outcome alone.",
)
def gae(
    discount: float = 1.0,
    trace: float = 0.95,
    whitened: bool = False,
    value_coefficient: float = 0.5,
    value_bound: float | None = None,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    beta: float = 0.0,
) -> OnlineObjective:
    """PPO: generalised advantages from a critic, clipped token ratio, mean over tokens, and the critic's squared error.

    ``whitened`` normalises the advantages over the batch, as today's trainers do. ``value_coefficient=0`` leaves the
    critic's loss to someone else.
    """
    critic: tuple[Regulariser, ...] = (ValueLoss(value_coefficient, value_bound, discount, trace),)
    return OnlineObjective(
        advantage=GeneralisedAdvantage(discount, trace),
        adjust=(Whitened(),) if whitened else (),
        gate=Clip(clip_low, clip_high),
        aggregate=TokenMean(),
        regularise=(critic if value_coefficient else ()) + kl_penalty(beta),
    )
