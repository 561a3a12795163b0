"""Policy entropy as a measure of what a token, or a completion, deserves."""

from __future__ import annotations

from prefopt.online.advantage import EntropyShapedSequences, EntropyShapedTokens
from prefopt.online.aggregate import SequenceMean, TokenMean
from prefopt.online.gate import Clip
from prefopt.online.objective import OnlineObjective
from prefopt.online.ratio import MeanTokenRatio
from prefopt.recipes.registry import recipe


@recipe(
    kind="online",
    card="04/gtpo",
    confidence="A",
    arxiv="2508.04349",
    claim="Entropy rebounds during training, and pass@k exceeds DAPO's.",
)
def gtpo(
    base: float = 1.0,
    bonus: float = 0.1,
    correct_above: float = 0.5,
    entropy_bounds: tuple[float, float] | None = None,
    clip_low: float = 0.2,
    clip_high: float = 0.28,
) -> OnlineObjective:
    """Token rewards that grow with entropy in right answers and with certainty in wrong ones; clipped, token mean."""
    return OnlineObjective(
        advantage=EntropyShapedTokens(base, bonus, correct_above, entropy_bounds),
        gate=Clip(clip_low, clip_high),
        aggregate=TokenMean(),
    )


@recipe(
    kind="online",
    card="04/gtpo",
    confidence="A",
    arxiv="2508.04349",
    claim="Entropy rewards of whole completions are stabler on long chains of thought than DAPO.",
)
def grpo_s(
    base: float = 1.0,
    bonus: float = 0.1,
    correct_above: float = 0.5,
    entropy_bounds: tuple[float, float] | None = None,
    clip_low: float = 0.2,
    clip_high: float = 0.28,
    ddof: int = 1,
    eps: float = 1e-8,
) -> OnlineObjective:
    """GRPO on rewards that follow a completion's mean entropy, with the mean of its token ratios clipped as one."""
    return OnlineObjective(
        advantage=EntropyShapedSequences(base, bonus, correct_above, entropy_bounds, ddof, eps),
        ratio=MeanTokenRatio(),
        gate=Clip(clip_low, clip_high),
        aggregate=SequenceMean(),
    )
