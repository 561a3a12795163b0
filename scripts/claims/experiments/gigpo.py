"""GiGPO: credit for turns by the states that they started from; the episodes and estimates of ``hgpo.py``."""

from __future__ import annotations

from collections.abc import Sequence

from scripts.claims.experiment import Measured, experiment
from scripts.claims.experiments import hgpo


@experiment(
    claim="Comparing turns that start from the same state gives credit within an episode, at no more rollouts.",
    rule=hgpo.rule_of_states,
    seeds=10,
)
def measure(seeds: Sequence[int]) -> Measured:
    """Error of turns from the same state, alone and added to the episode's."""
    return hgpo.measured(seeds)
