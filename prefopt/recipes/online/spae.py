"""Step potential advantage estimation."""

from __future__ import annotations

from prefopt.online.adjust import StepShaping, Whitened
from prefopt.online.advantage import GroupCentred
from prefopt.online.aggregate import TokenMean
from prefopt.online.gate import Clip
from prefopt.online.objective import OnlineObjective
from prefopt.online.sampling import InformativeGroups
from prefopt.recipes.registry import recipe


@recipe(
    kind="online",
    card="04/spae",
    confidence="B",
    arxiv="2601.03823",
    claim="Fewer tokens after the answer is settled, at equal accuracy.",
)
def spae(
    alpha: float = 0.5, xi: float = 0.5, saturated: float = 0.9, clip_low: float = 0.2, clip_high: float = 0.28
) -> OnlineObjective:
    """DAPO on group-centred rewards, damped after the answer is settled, plus each step's progress, then whitened.

    Potentials come from probes after each step, `prefopt.online.step_potential`: five continuations of ten tokens
    in the paper. ``saturated`` is our choice, as the paper names none.
    """
    return OnlineObjective(
        advantage=GroupCentred(),
        adjust=(StepShaping(alpha, xi, saturated), Whitened()),
        gate=Clip(clip_low, clip_high),
        aggregate=TokenMean(),
        sampling=(InformativeGroups(),),
    )
