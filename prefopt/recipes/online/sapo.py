"""Soft adaptive policy optimisation."""

from __future__ import annotations

from prefopt.online.gate import SAPO
from prefopt.online.objective import OnlineObjective
from prefopt.recipes.online.penalties import kl_penalty
from prefopt.recipes.registry import recipe


@recipe(
    kind="online",
    card="05/sapo",
    confidence="A",
    arxiv="2511.20347",
    claim="A soft gate sustains more updates a batch than a clip before the reward collapses.",
)
def sapo(tau_positive: float = 1.0, tau_negative: float = 1.05, beta: float = 0.0) -> OnlineObjective:
    """GRPO with a sigmoid gate around ratio 1 instead of the clip, hotter for negative advantages."""
    return OnlineObjective(gate=SAPO(tau_positive, tau_negative), regularise=kl_penalty(beta))
