"""Conditional advantage estimation."""

from __future__ import annotations

from prefopt.online.advantage import ConditionalHalves
from prefopt.online.advantage.conditional import Metric, Schedule
from prefopt.online.aggregate import ConstantLength
from prefopt.online.gate import Clip
from prefopt.online.objective import OnlineObjective
from prefopt.recipes.registry import recipe


@recipe(
    kind="online",
    card="04/canon",
    confidence="A",
    arxiv="2509.23962",
    claim="It amplifies a metric that goes with the reward, in whichever direction it does.",
)
def canon(
    metric: Metric = "entropy",
    inter: float = 1.0,
    alpha: float = 1.0,
    schedule: Schedule = "constant",
    reward_min: float = 0.0,
    reward_max: float = 1.0,
    max_length: int | None = None,
    clip_low: float = 0.2,
    clip_high: float = 0.28,
) -> OnlineObjective:
    """Dr. GRPO whose baseline is the half of the group with the other entropy or length, its own half, or a mixture."""
    return OnlineObjective(
        advantage=ConditionalHalves(metric, inter, alpha, schedule, reward_min, reward_max),
        gate=Clip(clip_low, clip_high),
        aggregate=ConstantLength(max_length),
    )
