"""History-aggregated exploratory policy optimisation."""

from __future__ import annotations

from prefopt.online.advantage import BatchNormalised
from prefopt.online.aggregate import SequenceSum
from prefopt.online.gate import NoSurrogate
from prefopt.online.whole import SoftmaxReturn, WholeGroupObjective
from prefopt.recipes.registry import recipe


@recipe(
    kind="online",
    card="04/haepo",
    confidence="C",
    arxiv="2508.18884",
    claim="Weights of whole completions learn fast, and their entropy keeps several of them alive.",
)
def haepo(entropy: float = 0.1, kl: float = 0.01, per_token: bool = False) -> WholeGroupObjective:
    """Returns averaged by the softmax of the completions' log-probabilities, its entropy, and its KL to the old one.

    The paper's text is known in part only: the coefficients, the KL's direction and the z-score of returns over the
    batch are reconstructed. ``per_token`` is not the paper's; it keeps the softmax of long completions from collapsing.
    """
    return WholeGroupObjective(
        advantage=BatchNormalised(),
        gate=NoSurrogate(),
        aggregate=SequenceSum(),
        together=(SoftmaxReturn(entropy, kl, per_token),),
    )
