"""REINFORCE++."""

from __future__ import annotations

from prefopt.online.adjust import KLToGo, Whitened
from prefopt.online.advantage import GroupCentred, RawReward
from prefopt.online.aggregate import TokenMean
from prefopt.online.gate import Clip
from prefopt.online.objective import OnlineObjective
from prefopt.online.slots import Adjustment
from prefopt.recipes.registry import recipe


@recipe(
    kind="online",
    card="04/baselines",
    confidence="A",
    arxiv="2501.03262",
    claim="Normalising over the whole batch instead of each prompt is stabler, and its bias vanishes with batch size.",
)
def reinforce_pp(
    baseline: bool = False, beta: float = 0.0, clip_low: float = 0.2, clip_high: float = 0.2, eps: float = 1e-8
) -> OnlineObjective:
    """The reward, less the KL to come, whitened over all tokens of the batch; ``baseline`` centres each group first.

    ``beta`` charges the divergence from the reference inside the reward. The paper uses a small one; today's trainers
    default to 0, and so do we.
    """
    charge: tuple[Adjustment, ...] = (KLToGo(beta),) if beta else ()
    return OnlineObjective(
        advantage=GroupCentred() if baseline else RawReward(),
        adjust=(*charge, Whitened(eps)),
        gate=Clip(clip_low, clip_high),
        aggregate=TokenMean(),
    )
