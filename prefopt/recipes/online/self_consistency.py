"""Self-consistency sampling."""

from __future__ import annotations

from prefopt.online.gate import Clip
from prefopt.online.objective import OnlineObjective
from prefopt.recipes.online.penalties import kl_penalty
from prefopt.recipes.registry import recipe
from prefopt.weighting import Consistency


@recipe(
    kind="online",
    card="04/self_consistency",
    confidence="B",
    arxiv="2511.10648",
    aliases=("scs",),
    claim="Lucky guesses earn less, and more of the policy's answers follow from its reasoning.",
)
def self_consistency(
    per_answer: float = 0.3,
    offset: int | None = None,
    only_correct: bool = False,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    beta: float = 0.0,
) -> OnlineObjective:
    """GRPO with a reward for few distinct answers among continuations drawn again from a cut of each completion.

    Continuations come from the first 0.8 of a completion, four of them, with noise on the picture if there is one.
    ``offset=5`` is the released code's. Any estimator does: ``build("rloo", weighting="self_consistency")``.
    """
    return OnlineObjective(
        weighting=Consistency(None, per_answer, offset, only_correct),
        gate=Clip(clip_low, clip_high),
        regularise=kl_penalty(beta),
    )
