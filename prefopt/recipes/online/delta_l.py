"""Delta-L normalisation."""

from __future__ import annotations

from prefopt.online.advantage import GroupNormalised
from prefopt.online.aggregate import DeltaL
from prefopt.online.gate import Clip
from prefopt.online.objective import OnlineObjective
from prefopt.recipes.registry import recipe


@recipe(
    kind="online",
    card="05/delta_l",
    confidence="A",
    arxiv="2509.07558",
    claim="Weights T^-alpha give the gradient of least variance among those unbiased up to scale.",
)
def delta_l(
    alpha: float = 0.75,
    max_length: int | None = None,
    clip_low: float = 0.2,
    clip_high: float = 0.3,
    ddof: int = 1,
    eps: float = 1e-6,
) -> OnlineObjective:
    """GRPO whose completions are weighted by a negative power of their length before a constant-length sum."""
    return OnlineObjective(
        advantage=GroupNormalised(ddof, eps), gate=Clip(clip_low, clip_high), aggregate=DeltaL(alpha, max_length)
    )
