"""Group relative alignment optimisation."""

from __future__ import annotations

from prefopt.online.adjust import ImitationTerm
from prefopt.online.advantage import GroupNormalised, OwnGroup
from prefopt.online.aggregate import PromptMean
from prefopt.online.gate import LogProbability
from prefopt.online.objective import OnlineObjective
from prefopt.recipes.registry import recipe


@recipe(
    kind="online",
    card="03/13",
    confidence="A",
    arxiv="2508.07750",
    claim="Where own completions rarely succeed, the reference answer still teaches.",
)
def grao(beta: float = 0.5, lam: float = 0.6, reference_in_group: bool = True) -> OnlineObjective:
    """REINFORCE on group z-scores plus imitation of the reference answer, weighted by its own advantage.

    The reference answer is one more row of the group, ``from_expert``. Whether it counts in the group's mean and
    deviation is ambiguous in the paper; if it does not, a group of equal rewards says nothing of it either. ``lam``
    only rescales: see `ImitationTerm`.
    """
    advantage = GroupNormalised(0, 0.0) if reference_in_group else OwnGroup(0, 0.0, judge_experts=True)
    return OnlineObjective(
        advantage=advantage,
        adjust=(ImitationTerm(beta, lam),),
        gate=LogProbability(),
        aggregate=PromptMean(),
    )
