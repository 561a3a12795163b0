"""Sequence-level sequential update policy optimisation."""

from __future__ import annotations

from prefopt.online.adjust import TurnCorrection
from prefopt.online.advantage import ActiveNormalised
from prefopt.online.gate import Clip
from prefopt.online.ratio import SequenceRatio
from prefopt.online.turnwise import TurnwiseObjective
from prefopt.recipes.online.penalties import kl_penalty
from prefopt.recipes.registry import recipe


@recipe(
    kind="online",
    card="05/seeupo",
    confidence="A",
    arxiv="2602.06554",
    claim="Updating turns from last to first improves monotonically where updating all at once does not.",
)
def seeupo(
    limit: float = 3.0, clip_low: float = 3e-4, clip_high: float = 4e-4, beta: float = 0.002
) -> TurnwiseObjective:
    """GSPO on one turn after the other, the last first, advantages times how far the later turns have moved.

    See `TurnwiseObjective` for the passes. The clip is GSPO's, as the paper names none of its own.
    """
    return TurnwiseObjective(
        advantage=ActiveNormalised(limit),
        adjust=(TurnCorrection(),),
        ratio=SequenceRatio(),
        gate=Clip(clip_low, clip_high),
        regularise=kl_penalty(beta),
    )
