"""Trust region preference approximation."""

from __future__ import annotations

from prefopt.online.aggregate import TokenMean
from prefopt.online.gate import NoSurrogate
from prefopt.online.regularise import BehaviourKL
from prefopt.online.whole import LevelPairs, WholeGroupObjective
from prefopt.online.whole.level_pairs import LevelWins
from prefopt.recipes.registry import recipe


@recipe(
    kind="online",
    card="03/12",
    confidence="A",
    arxiv="2504.04524",
    claim="Only the order of quality levels matters, so that no scale of rewards can be exploited.",
)
def trpa(beta: float = 0.1, anisotropy: float = 2.5, trust_region: float = 1e-3) -> WholeGroupObjective:
    """A preference loss over all pairs of a prompt's completions at different levels, near the sampling policy.

    The trust region is a small KL term to the policy that sampled; the preference itself is measured against the fixed
    reference.
    """
    return WholeGroupObjective(
        advantage=LevelWins(),
        gate=NoSurrogate(),
        aggregate=TokenMean(),
        regularise=(BehaviourKL(trust_region),) if trust_region else (),
        together=(LevelPairs(beta, anisotropy),),
    )
