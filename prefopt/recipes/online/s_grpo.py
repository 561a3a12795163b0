"""Noise-aware GRPO."""

from __future__ import annotations

from prefopt.online.adjust import LabelNoise
from prefopt.online.advantage import GroupNormalised
from prefopt.online.aggregate import ConstantLength
from prefopt.online.gate import Clip
from prefopt.online.objective import OnlineObjective
from prefopt.recipes.registry import recipe


@recipe(
    kind="online",
    card="04/s_grpo",
    confidence="A",
    arxiv="2508.05928",
    claim="Under flipped rewards the weighted advantage is closer to the true one in the mean square.",
)
def s_grpo(
    noise: float = 0.1,
    correct_above: float = 0.0,
    eps: float = 1e-8,
    max_length: int | None = None,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
) -> OnlineObjective:
    """Group z-scores times the weight of least squared error under label noise, summed over a constant length.

    ``noise=0`` is GRPO's advantage. All weights are at most 1: compare with GRPO at equal size of the update.
    """
    return OnlineObjective(
        advantage=GroupNormalised(1, eps),
        adjust=(LabelNoise(noise, correct_above),),
        gate=Clip(clip_low, clip_high),
        aggregate=ConstantLength(max_length),
    )
