"""Optimal baseline and learning rate."""

from __future__ import annotations

from prefopt.online.advantage import GradientWeighted
from prefopt.online.aggregate import SequenceSum
from prefopt.online.gate import LogProbability
from prefopt.online.objective import OnlineObjective
from prefopt.recipes.registry import recipe


@recipe(
    kind="online",
    card="04/oblr_po",
    confidence="C",
    arxiv="2511.23310",
    claim="The baseline weighted by squared gradient norms has less variance than the mean, at the same mean gradient.",
)
def oblr_po(leave_one_out: bool = False) -> OnlineObjective:
    """REINFORCE whose baseline is the group's mean reward weighted by squared gradient norms.

    Reconstructed from the abstract. The learning rate that goes with it is `prefopt.online.step_size.StepSize`.
    """
    return OnlineObjective(advantage=GradientWeighted(leave_one_out), gate=LogProbability(), aggregate=SequenceSum())
