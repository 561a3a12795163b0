"""GRPO with process supervision."""

from __future__ import annotations

from prefopt.online.advantage import StepNormalised
from prefopt.online.gate import Clip
from prefopt.online.objective import OnlineObjective
from prefopt.recipes.online.penalties import kl_penalty
from prefopt.recipes.registry import recipe


@recipe(
    kind="online",
    card="04/baselines",
    confidence="B",
    arxiv="2402.03300",
    claim="Rewards of single steps learn faster than the outcome's.",
)
def process_grpo(
    clip_low: float = 0.2, clip_high: float = 0.2, beta: float = 0.0, ddof: int = 1, eps: float = 1e-6
) -> OnlineObjective:
    """GRPO on step rewards: z-scores over all steps of the group, summed over the steps to come.

    As the paper is commonly read; kind and eps of the deviation are those of GRPO's implementations.
    """
    return OnlineObjective(
        advantage=StepNormalised(ddof, eps), gate=Clip(clip_low, clip_high), regularise=kl_penalty(beta)
    )
