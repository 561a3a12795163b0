"""Reflect-then-retry."""

from __future__ import annotations

from prefopt.online.adjust import Amplified
from prefopt.online.advantage import BaselineOrAlone
from prefopt.online.aggregate import PivotalMean
from prefopt.online.gate import LogProbability
from prefopt.online.objective import OnlineObjective
from prefopt.recipes.online.penalties import kl_penalty
from prefopt.recipes.registry import recipe


@recipe(
    kind="online",
    card="05/r3l",
    confidence="A",
    arxiv="2601.03715",
    claim="Retries from the failing step find successes sooner, and amplified they outweigh groups of failures.",
)
def r3l(alpha: float = 3.0, tau: float = 1.0, released: bool = False, beta: float = 0.0) -> OnlineObjective:
    """REINFORCE on attempts and retries of one task, from where they part, with positive advantages amplified.

    This is the loss; reflecting and retrying is a loop's work. First attempts and retries are one group; a reflection
    or a guided retry to imitate is a group of its own and has advantage 1. ``released=True`` gives solved completions
    a flat advantage of 1, as the code does. The paper's optional KL is the k2 estimate; ``beta`` weighs the k3 one.
    """
    return OnlineObjective(
        advantage=BaselineOrAlone(),
        adjust=(Amplified(alpha, 1.0 if released else None),),
        gate=LogProbability(),
        aggregate=PivotalMean(tau),
        regularise=kl_penalty(beta),
    )
