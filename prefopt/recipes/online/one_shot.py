"""Reinforcement learning with one training example."""

from __future__ import annotations

from prefopt.online.gate import Clip
from prefopt.online.objective import OnlineObjective
from prefopt.recipes.online.penalties import entropy_bonus, kl_penalty
from prefopt.recipes.registry import recipe


@recipe(
    kind="online",
    card="05/one_shot",
    confidence="A",
    arxiv="2504.20571",
    claim="One repeated prompt raises held-out accuracy, beyond the point where it is solved if entropy is rewarded.",
)
def one_shot(
    entropy: float = 1e-3, beta: float = 1e-3, clip_low: float = 0.2, clip_high: float = 0.2
) -> OnlineObjective:
    """GRPO with a KL penalty and an entropy bonus, for data that repeat the prompt whose accuracy moved most.

    ``prefopt.online.sampling.accuracy_spread`` finds that prompt. Groups without signal stay in: once the prompt is
    solved, entropy and KL are all that acts.
    """
    return OnlineObjective(gate=Clip(clip_low, clip_high), regularise=kl_penalty(beta) + entropy_bonus(entropy))
