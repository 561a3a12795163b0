"""Learning from wrong answers alone, and its opposite."""

from __future__ import annotations

from prefopt.online.advantage import Verdict
from prefopt.online.aggregate import TokenMean
from prefopt.online.gate import Clip
from prefopt.online.objective import OnlineObjective
from prefopt.online.sampling import ByOutcome
from prefopt.online.sampling.outcome import Kept
from prefopt.online.token_weight import OneSign
from prefopt.recipes.online.penalties import entropy_bonus
from prefopt.recipes.registry import recipe


def _of_outcome(keep: Kept, threshold: float, clip_low: float, clip_high: float, entropy: float) -> OnlineObjective:
    """Return learning from completions of one verdict, its sign the advantage."""
    return OnlineObjective(
        advantage=Verdict(threshold=threshold),
        gate=Clip(clip_low, clip_high),
        aggregate=TokenMean(),
        regularise=entropy_bonus(entropy),
        sampling=(ByOutcome(keep, threshold),),
    )


@recipe(
    kind="online",
    card="05/relative_negative",
    confidence="B",
    arxiv="2510.04028",
    claim="Learning is slower than with both signs, but pass@k for large k does not fall.",
    aliases=("grpo_n",),
)
def relative_negative(clip_low: float = 0.2, clip_high: float = 0.2) -> OnlineObjective:
    """GRPO-N: GRPO whose completions of positive advantage weigh nothing; ``ratio="gspo", gate="gspo"`` is GSPO-N.

    From the abstract and reviews of the paper. With one reward of 0 and 1 it is NSR up to scale.
    """
    return OnlineObjective(token_weight=(OneSign("negative"),), gate=Clip(clip_low, clip_high))


@recipe(
    kind="online",
    card="05/relative_negative",
    confidence="A",
    arxiv="2506.01347",
    claim="Learning from correct answers alone raises pass@1 at the cost of pass@k for large k.",
)
def psr(
    threshold: float = 0.5, clip_low: float = 0.2, clip_high: float = 0.2, entropy: float = 1e-3
) -> OnlineObjective:
    """Correct completions with advantage 1, wrong ones dropped before anything is counted."""
    return _of_outcome("correct", threshold, clip_low, clip_high, entropy)


@recipe(
    kind="online",
    card="05/relative_negative",
    confidence="A",
    arxiv="2506.01347",
    claim="Learning from wrong answers alone keeps entropy and pass@k, at nearly the pass@1 of both.",
)
def nsr(
    threshold: float = 0.5, clip_low: float = 0.2, clip_high: float = 0.2, entropy: float = 1e-3
) -> OnlineObjective:
    """Wrong completions with advantage -1, correct ones dropped before anything is counted.

    On-policy and without normalisation its expected gradient is that of PSR: they differ by E[grad log pi] = 0.
    """
    return _of_outcome("wrong", threshold, clip_low, clip_high, entropy)


@recipe(
    kind="online",
    card="05/relative_negative",
    confidence="A",
    arxiv="2506.01347",
    claim="A little weight on correct answers gives pass@1 of GRPO and pass@k of learning from wrong ones.",
)
def w_reinforce(
    positive: float = 0.1,
    threshold: float = 0.5,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    entropy: float = 1e-3,
) -> OnlineObjective:
    """Correct completions with advantage 0.1, wrong ones with -1; no baseline."""
    return OnlineObjective(
        advantage=Verdict(positive, -1.0, threshold),
        gate=Clip(clip_low, clip_high),
        aggregate=TokenMean(),
        regularise=entropy_bonus(entropy),
    )
