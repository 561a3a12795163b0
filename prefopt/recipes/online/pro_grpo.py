"""Exploration by generative probabilities."""

from __future__ import annotations

from prefopt.online.adjust import ConfidenceGap
from prefopt.online.advantage import GroupNormalised
from prefopt.online.aggregate import TokenMean
from prefopt.online.gate import Clip
from prefopt.online.objective import OnlineObjective
from prefopt.recipes.registry import recipe


@recipe(
    kind="online",
    card="04/pro_grpo",
    confidence="B",
    arxiv="2602.05281",
    claim="Several correct paths stay alive: pass@k and diversity rise, pass@1 stays about equal.",
)
def pro_grpo(
    alpha: float = 0.3,
    share: float = 0.2,
    skip_solved: bool = False,
    only_correct: bool = False,
    clip_low: float = 0.2,
    clip_high: float = 0.28,
    ddof: int = 1,
    eps: float = 1e-6,
) -> OnlineObjective:
    """GRPO plus the gap between the prompt's confidence and the completion's, over their least likely tokens.

    The prompt's confidence is reconstructed by analogy, and ``alpha`` is our choice. Accounts of the paper differ on
    whether solved groups and wrong completions get the term; here they do, unless ``skip_solved``, ``only_correct``.
    """
    return OnlineObjective(
        advantage=GroupNormalised(ddof, eps),
        adjust=(ConfidenceGap(alpha, share, skip_solved, only_correct),),
        gate=Clip(clip_low, clip_high),
        aggregate=TokenMean(),
    )
