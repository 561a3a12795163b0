"""Reliable judgement of image quality."""

from __future__ import annotations

from prefopt.online.adjust import PredictionSpread
from prefopt.online.advantage import GroupNormalised
from prefopt.online.gate import Clip
from prefopt.online.objective import OnlineObjective
from prefopt.online.regularise import Perception
from prefopt.online.slots import Regulariser
from prefopt.recipes.registry import recipe


@recipe(
    kind="online",
    card="04/q_hawkeye",
    confidence="A",
    arxiv="2601.22920",
    claim="Damping samples on which the predictions disagree steadies training on numeric scores.",
)
def q_hawkeye(
    alpha: float = 0.2,
    low: float = 1.0,
    high: float = 5.0,
    gamma: float = 1e-4,
    anneal_steps: int | None = None,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    ddof: int = 1,
    eps: float = 1e-4,
) -> OnlineObjective:
    """GRPO with groups damped by the variance of their predicted scores, and a push away from a degraded picture.

    ``gamma=0`` leaves the push out, and with it one more forward pass. The paper's reward is
    ``exp(-|prediction - score| / 0.3)`` beside a format reward, and the push fades over five epochs: give
    ``anneal_steps`` their optimiser steps.
    """
    perception: tuple[Regulariser, ...] = (Perception(gamma, anneal_steps),) if gamma else ()
    return OnlineObjective(
        advantage=GroupNormalised(ddof, eps),
        adjust=(PredictionSpread(alpha, low, high),),
        gate=Clip(clip_low, clip_high),
        regularise=perception,
    )
