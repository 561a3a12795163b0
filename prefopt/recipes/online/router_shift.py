"""Router-shift policy optimisation."""

from __future__ import annotations

from prefopt.online.gate import GeometricMean
from prefopt.online.objective import OnlineObjective
from prefopt.online.ratio import RouterShift
from prefopt.online.ratio.router_shift import Pooling
from prefopt.recipes.registry import recipe


@recipe(
    kind="online",
    card="05/router_shift",
    confidence="B",
    arxiv="2510.23027",
    claim="Shrinking the ratio of tokens whose routing changed clips less and learns more smoothly than GSPO.",
    aliases=("rspo",),
)
def router_shift(
    floor: float = 0.8, pooling: Pooling = "mean", clip_low: float = 0.4, clip_high: float = 0.4
) -> OnlineObjective:
    """GMPO for mixtures of experts: each token's ratio shrinks by the drift of its router, before it is clamped.

    The ratio is a plug-in: ``gate="grpo"`` clips it as PPO does. The value of ``floor`` is a re-implementation's.
    """
    return OnlineObjective(ratio=RouterShift(floor, pooling), gate=GeometricMean(clip_low, clip_high))
