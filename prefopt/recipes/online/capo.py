"""Curvature-aware policy optimisation."""

from __future__ import annotations

from prefopt.online.gate import Clip
from prefopt.online.objective import OnlineObjective
from prefopt.online.policy_weight import CurvatureMask
from prefopt.recipes.registry import recipe


@recipe(
    kind="online",
    card="05/capo",
    confidence="A",
    arxiv="2510.00819",
    claim="At learning rates where GRPO collapses it rejects under 8% of tokens and does not.",
)
def capo(
    learning_rate: float = 1.5e-5,
    largest_divergence: float = 1e-4,
    largest_change: float = 0.01,
    symmetric: bool = True,
    adam: bool = True,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
) -> OnlineObjective:
    """GRPO over the tokens whose step on the output layer is predicted to change objective and policy little.

    Write the run's own learning rate into ``learning_rate``.
    """
    mask = CurvatureMask(learning_rate, largest_divergence, largest_change, symmetric, adam)
    return OnlineObjective(policy_weight=(mask,), gate=Clip(clip_low, clip_high))
