"""Expert-calibrated exploration."""

from __future__ import annotations

from prefopt.online.advantage import GroupCentred
from prefopt.online.aggregate import TokenMean
from prefopt.online.gate import DualClip
from prefopt.online.objective import OnlineObjective
from prefopt.online.regularise import ExpertGuide
from prefopt.online.regularise.expert_guide import Level
from prefopt.recipes.registry import recipe


@recipe(
    kind="online",
    card="04/calibrl",
    confidence="A",
    arxiv="2602.20197",
    claim="Guided by an expert's confidence instead of its text, entropy rises and accuracy with it.",
)
def calibrl(
    coefficient: float = 0.1,
    slope: float = 0.5,
    correct_above: float = 0.1,
    level: Level = "position",
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    bound: float = 3.0,
) -> OnlineObjective:
    """Dual-clip PPO on group-centred rewards, and a leaky pull of each token towards the expert's log-probability.

    The expert's answer is not learnt from; its old log-probabilities are the yardstick. ``level="mean"`` takes their
    mean in place of those at equal positions.
    """
    return OnlineObjective(
        advantage=GroupCentred(),
        gate=DualClip(clip_low, clip_high, bound),
        aggregate=TokenMean(),
        regularise=(ExpertGuide(coefficient, slope, correct_above, level),),
    )
