"""Second-moment trust policy optimisation."""

from __future__ import annotations

from prefopt.online.aggregate import TokenMean
from prefopt.online.gate import ImportanceWeighted, SecondMomentClip
from prefopt.online.objective import OnlineObjective
from prefopt.online.policy_weight import SecondMomentMask
from prefopt.recipes.registry import recipe


@recipe(
    kind="online",
    card="05/m2po",
    confidence="A",
    arxiv="2510.01161",
    claim="On data hundreds of updates old it masks far fewer tokens than a clip, and learns as if on-policy.",
)
def m2po(
    threshold: float = 0.04,
    harmful_only: bool = True,
    released: bool = False,
    least_low: float = 0.0,
    least_high: float = 0.0,
) -> OnlineObjective:
    """GRPO without a clip, less the tokens that carry the second moment of the log-ratio beyond a bound.

    ``released=True`` is the authors' code, which clips at a width that the bound gives instead of leaving tokens out,
    never tighter than ``least_low`` and ``least_high`` (0.3 and 0.5 in its configuration); these act there alone.
    ``harmful_only=False`` is AReaL's variant of the paper's masking, which ranks all tokens.
    """
    if (least_low or least_high) and not released:
        raise ValueError("least_low and least_high belong to the clip of the released code; set released=True")
    if released:
        return OnlineObjective(gate=SecondMomentClip(threshold, least_low, least_high), aggregate=TokenMean())
    return OnlineObjective(
        policy_weight=(SecondMomentMask(threshold, harmful_only),), gate=ImportanceWeighted(), aggregate=TokenMean()
    )
