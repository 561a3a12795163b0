"""Segment policy optimisation."""

from __future__ import annotations

from prefopt.online.adjust import WhitenedUncertain
from prefopt.online.advantage import GroupCentred, GroupNormalised, SegmentValues
from prefopt.online.aggregate import UncertainMean
from prefopt.online.gate import Clip
from prefopt.online.objective import OnlineObjective
from prefopt.online.sampling import OffMean
from prefopt.online.segments import SiblingScale
from prefopt.recipes.registry import recipe


@recipe(
    kind="online",
    card="04/spo",
    confidence="A",
    arxiv="2505.23564",
    aliases=("spo_chain",),
    claim="Credit by segments beats credit by completions at equal updates, for many more sampled tokens.",
)
def segment_chain(
    certain: float = 0.9, whitened: bool = True, clip_low: float = 0.2, clip_high: float = 0.2
) -> OnlineObjective:
    """PPO's clip on differences of Monte Carlo values between cuts, a mean over the tokens that were not certain.

    Where to cut is `prefopt.online.segments.cut_points`: before every fifth token of probability below ``certain``,
    with nine rollouts from each cut in the paper.
    """
    return OnlineObjective(
        advantage=SegmentValues(),
        adjust=(WhitenedUncertain(certain),) if whitened else (),
        gate=Clip(clip_low, clip_high),
        aggregate=UncertainMean(certain),
    )


@recipe(
    kind="online",
    card="04/spo",
    confidence="A",
    arxiv="2505.23564",
    aliases=("spo_tree",),
    claim="A tree of segments gives credit within completions at the cost of one batch of leaves.",
)
def segment_tree(
    siblings: SiblingScale = "centred",
    certain: float = 0.9,
    whitened: bool = True,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
) -> OnlineObjective:
    """PPO's clip on the edges of a tree of segments, each against its siblings; edges of no advantage are left out.

    A row is an edge: its prompt is the path to its parent, which is its group, and its reward the mean over the leaves
    below it (`prefopt.online.segments.tree_edges`). The paper branches 6-6-6 with segments of 30 tokens.
    """
    return OnlineObjective(
        advantage=GroupCentred() if siblings == "centred" else GroupNormalised(0, 1e-8),
        adjust=(WhitenedUncertain(certain),) if whitened else (),
        gate=Clip(clip_low, clip_high),
        aggregate=UncertainMean(certain),
        sampling=(OffMean(),),
    )
