"""The recipe of INTELLECT-2."""

from __future__ import annotations

from prefopt.online.advantage import GroupNormalised
from prefopt.online.aggregate import TokenMean
from prefopt.online.gate import DualClip
from prefopt.online.objective import OnlineObjective
from prefopt.online.sampling import InformativeGroups, SolveRateBand
from prefopt.recipes.online.penalties import entropy_bonus, kl_penalty
from prefopt.recipes.registry import recipe


@recipe(
    kind="online",
    card="05/intellect2",
    confidence="A",
    arxiv="2505.07291",
    claim="A bound on the ratio of negative advantages removes the spikes that an outlier gives a one-sided clip.",
)
def intellect2(
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    delta: float = 4.0,
    entropy: float = 1e-4,
    beta: float = 0.0,
    solve_rate: tuple[float, float] | None = None,
) -> OnlineObjective:
    """GRPO with a two-sided clip, a mean over all tokens, an entropy bonus, and no group without signal.

    The paper refills the batch after leaving groups out; here it shrinks. ``solve_rate`` (0.1, 0.8) also leaves out
    prompts that are too hard or too easy for a fixed policy. The length-target reward is a reward source.
    """
    return OnlineObjective(
        advantage=GroupNormalised(eps=1e-6),
        gate=DualClip(clip_low, clip_high, delta),
        aggregate=TokenMean(),
        regularise=entropy_bonus(entropy) + kl_penalty(beta),
        sampling=(InformativeGroups(), *((SolveRateBand(*solve_rate),) if solve_rate else ())),
    )
