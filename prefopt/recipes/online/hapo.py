"""Heterogeneous adaptive policy optimisation."""

from __future__ import annotations

from prefopt.online.advantage import TokenAverage
from prefopt.online.aggregate import TokenMean
from prefopt.online.gate import EntropyScoredClip
from prefopt.online.objective import OnlineObjective
from prefopt.online.sampling import InformativeGroups
from prefopt.recipes.registry import recipe


@recipe(
    kind="online",
    card="04/hapo",
    confidence="A",
    arxiv="2509.16591",
    claim="Treating each token by its entropy sustains entropy and accuracy beyond DAPO.",
)
def hapo(
    widen: float = 1.0,
    amplify: float = 1.0,
    quantile: float = 0.8,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    bound: float = 10.0,
    sign_bug: bool = False,
) -> OnlineObjective:
    """DAPO with z-scores among tokens, and a clip and advantages that follow each token's entropy.

    ``sign_bug=True`` is the released code, whose score is positive for tokens of low entropy too. The sampler's part,
    temperatures that follow entropy, is `prefopt.online.entropy_score.adaptive_temperature`.
    """
    return OnlineObjective(
        advantage=TokenAverage(),
        gate=EntropyScoredClip(clip_low, clip_high, widen, amplify, bound, quantile, sign_bug),
        aggregate=TokenMean(),
        sampling=(InformativeGroups(),),
    )
