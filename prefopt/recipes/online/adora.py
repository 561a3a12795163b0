"""Dynamic advantage estimation."""

from __future__ import annotations

from typing import Literal

from prefopt.online.adjust import LengthAdvantage
from prefopt.online.adjust.length_advantage import Criterion
from prefopt.online.advantage import GroupNormalised
from prefopt.online.gate import Clip
from prefopt.online.objective import OnlineObjective
from prefopt.recipes.online.penalties import kl_penalty
from prefopt.recipes.registry import recipe

Variant = Literal["vision", "language", "released_language"]

# Vision: paper and code agree. Language: the paper amplifies groups that meet both criteria (how the two combine is
# read from reviews); the released code attenuates by length, with rewards above 1 as correct and other edge cases.
VARIANTS: dict[Variant, LengthAdvantage] = {
    "vision": LengthAdvantage(length_cap=4094),
    "language": LengthAdvantage(advantaged=2.0, others=1.0, criterion="and"),
    "released_language": LengthAdvantage(
        correct_above=1.01, length_cap=4054, without_failures=True, without_successes=False
    ),
}


@recipe(
    kind="online",
    card="04/adora",
    confidence="A",
    arxiv="2602.10019",
    claim="Weighting groups by where longer answers succeed makes reasoning grow sooner than plain GRPO.",
)
def adora(
    variant: Variant = "vision",
    advantaged: float | None = None,
    others: float | None = None,
    correct_above: float | None = None,
    length_cap: int | None = None,
    criterion: Criterion | None = None,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    beta: float = 0.0,
    ddof: int = 1,
    eps: float = 1e-9,
) -> OnlineObjective:
    """GRPO whose groups count in full where the longest success is longer than the mean failure, and a tenth elsewhere.

    ``variant="language"`` is the paper's for language models: groups that are longer in success and at most half solved
    count double. ``variant="released_language"`` is its code. A setting that is None is the variant's. It favours
    length wherever a long answer succeeds, even where short ones are right.
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant must be one of {', '.join(VARIANTS)}, not '{variant}'")
    chosen = VARIANTS[variant]
    rule = LengthAdvantage(
        chosen.advantaged if advantaged is None else advantaged,
        chosen.others if others is None else others,
        chosen.correct_above if correct_above is None else correct_above,
        chosen.length_cap if length_cap is None else length_cap,
        chosen.criterion if criterion is None else criterion,
        without_failures=chosen.without_failures,
        without_successes=chosen.without_successes,
    )
    return OnlineObjective(
        advantage=GroupNormalised(ddof, eps),
        adjust=(rule,),
        gate=Clip(clip_low, clip_high),
        regularise=kl_penalty(beta),
    )
