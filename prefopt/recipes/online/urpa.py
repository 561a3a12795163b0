"""Uncertainty-quantified rollouts as labels."""

from __future__ import annotations

from typing import Literal

from prefopt.online.adjust import IntervalConfidence
from prefopt.online.choice import check_choice
from prefopt.online.gate import Clip
from prefopt.online.objective import OnlineObjective
from prefopt.recipes.online.penalties import kl_penalty
from prefopt.recipes.registry import recipe
from prefopt.weighting import IntervalAgreement

Source = Literal["reward", "advantage"]


@recipe(
    kind="online",
    card="04/urpa",
    confidence="B",
    arxiv="2508.06317",
    claim="Confidence weights limit the damage of wrong pseudo labels.",
)
def urpa(
    gamma: float = 1.0,
    share: float = 0.5,
    confidence_on: Source = "reward",
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    beta: float = 0.0,
) -> OnlineObjective:
    """GRPO on agreement with the group's mean interval, damped where the group's intervals scatter; no labels.

    On the reward, as in the paper, the z-score mostly divides the damping out again; ``confidence_on="advantage"``
    keeps it. gamma is not established.
    """
    check_choice("confidence_on", confidence_on, Source)
    on_reward = confidence_on == "reward"
    return OnlineObjective(
        weighting=IntervalAgreement(None, gamma if on_reward else 0.0, share),
        adjust=() if on_reward else (IntervalConfidence(gamma),),
        gate=Clip(clip_low, clip_high),
        regularise=kl_penalty(beta),
    )
