"""Credit for the turns of an agent, by the states that they started from."""

from __future__ import annotations

from prefopt.online.advantage import HierarchicalTurns
from prefopt.online.gate import Clip
from prefopt.online.objective import OnlineObjective
from prefopt.recipes.online.penalties import kl_penalty
from prefopt.recipes.registry import recipe


@recipe(
    kind="online",
    card="04/hgpo",
    confidence="A",
    arxiv="2602.22817",
    claim="Clusters by longer shared histories have less bias, mixed with shorter ones less variance, than one alone.",
)
def hgpo(
    history: int = 2,
    alpha: float = 1.0,
    normalise: bool = True,
    base_group: bool = False,
    discount: float = 0.95,
    turn_rewards: bool = False,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    beta: float = 0.01,
) -> OnlineObjective:
    """Each turn against turns of its prompt that share 1, 2, ... ``history + 1`` states, weighted by how many.

    ``base_group`` adds the episode's advantage as the cluster of no shared state.
    """
    advantage = HierarchicalTurns(
        history + 1, alpha, 0.0, 1.0, base_group, discount, normalise, turn_rewards=turn_rewards
    )
    return OnlineObjective(advantage=advantage, gate=Clip(clip_low, clip_high), regularise=kl_penalty(beta))


@recipe(
    kind="online",
    card="04/hgpo",
    confidence="A",
    arxiv="2505.10978",
    claim="Comparing turns that start from the same state gives credit within an episode at no more rollouts.",
)
def gigpo(
    omega: float = 1.0,
    normalise: bool = True,
    discount: float = 0.95,
    turn_rewards: bool = False,
    episode_each_turn: bool = False,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    beta: float = 0.01,
) -> OnlineObjective:
    """The episode's group advantage plus ``omega`` times that of the turn among turns from the same state.

    An episode counts once in its group, as the paper has it; with ``episode_each_turn`` once for each of its turns, as
    in the released code.
    """
    advantage = HierarchicalTurns(
        1,
        1.0,
        1.0,
        omega,
        False,
        discount,
        normalise,
        turn_ddof=1,
        turn_rewards=turn_rewards,
        episode_each_turn=episode_each_turn,
    )
    return OnlineObjective(advantage=advantage, gate=Clip(clip_low, clip_high), regularise=kl_penalty(beta))
