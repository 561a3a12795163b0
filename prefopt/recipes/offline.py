"""Recipes of kind offline. The baseline that all are described against is ``sigmoid``, which is DPO."""

from __future__ import annotations

from prefopt.offline.link import Hinge, Labels, Sigmoid, Squared
from prefopt.offline.objective import OfflineObjective
from prefopt.offline.pair_weight.aligned_probability import AlignedProbability, Alignment
from prefopt.offline.reference import NoReference
from prefopt.offline.score import LogRatio, MeanLogProbability, MeanLogRatio
from prefopt.offline.slots import Score
from prefopt.recipes.registry import recipe


@recipe(
    kind="offline", card="03/1", confidence="A", arxiv="2305.18290", aliases=("dpo",),
    claim="With a share of flipped labels, label smoothing keeps true-preference accuracy above the plain loss.",
)  # fmt: skip
def sigmoid(
    beta: float = 0.1, label_smoothing: float = 0.0, margin_scale: float = 0.0, labels: Labels = "hard"
) -> OfflineObjective:
    """DPO: cross-entropy under Bradley-Terry on the difference of two summed log-ratios to a frozen reference."""
    link = Sigmoid(beta=beta, label_smoothing=label_smoothing, margin_scale=margin_scale, labels=labels)
    return OfflineObjective(score=LogRatio(), link=link)


@recipe(
    kind="offline", card="03/1", confidence="A", arxiv="2310.12036",
    claim="On a bandit with nearly certain preferences margins stay bounded, where those of DPO grow without limit.",
)  # fmt: skip
def ipo(
    beta: float = 0.1, length_normalised: bool = False, label_smoothing: float = 0.0, labels: Labels = "hard"
) -> OfflineObjective:
    """IPO: the difference of log-ratios is regressed onto 1 / (2 beta), so certain labels cannot drive it to infinity.

    Sums of log-ratios, as in the paper; ``length_normalised=True`` takes means, as the released implementations do.
    """
    score: Score = MeanLogRatio() if length_normalised else LogRatio()
    return OfflineObjective(score=score, link=Squared(beta=beta, label_smoothing=label_smoothing, labels=labels))


@recipe(
    kind="offline", card="03/1", confidence="A", arxiv="2305.10425",
    claim="Margins stay bounded near 1 / beta, where those of DPO grow without limit.",
)  # fmt: skip
def hinge(beta: float = 0.1, label_smoothing: float = 0.0, labels: Labels = "hard") -> OfflineObjective:
    """SLiC's hinge on DPO's score: a pair whose margin reaches 1 / beta exerts no force any more."""
    return OfflineObjective(link=Hinge(beta=beta, label_smoothing=label_smoothing, labels=labels))


@recipe(
    kind="offline", card="03/1", confidence="A", arxiv="2405.14734",
    claim="Ranks pairs by the mean log-probability that generation uses, without a reference in memory.",
)  # fmt: skip
def simpo(
    beta: float = 2.0, gamma: float = 0.5, label_smoothing: float = 0.0, labels: Labels = "hard"
) -> OfflineObjective:
    """SimPO: mean log-probability as the score, no reference, and a margin gamma that every pair should reach.

    The paper tunes beta in 2 to 10 and gamma / beta in 0.1 to 0.8.
    """
    return OfflineObjective(
        reference=NoReference(),
        score=MeanLogProbability(),
        link=Sigmoid(beta=beta, gamma=gamma, label_smoothing=label_smoothing, labels=labels),
    )


@recipe(
    kind="offline", card="03/1", confidence="A", arxiv="2411.15124",
    claim="With length-normalised scores, longer responses are not preferred for their length alone.",
)  # fmt: skip
def dpo_norm(
    beta: float = 5.0, label_smoothing: float = 0.0, margin_scale: float = 0.0, labels: Labels = "hard"
) -> OfflineObjective:
    """Tulu 3's length-normalised DPO: each log-ratio is averaged over its response, so beta is about 5, not 0.1."""
    link = Sigmoid(beta=beta, label_smoothing=label_smoothing, margin_scale=margin_scale, labels=labels)
    return OfflineObjective(score=MeanLogRatio(), link=link)


@recipe(
    kind="offline", card="03/2", confidence="A", arxiv="2406.11827",
    claim="When half of the pairs come from a far policy, true reward ends above that of DPO; equal on own pairs.",
)  # fmt: skip
def wpo(
    beta: float = 0.01, alignment: Alignment = "sampled", cap: float = 1.0, label_smoothing: float = 0.0,
    labels: Labels = "hard",
) -> OfflineObjective:  # fmt: skip
    """WPO: DPO whose pairs count by how likely the current policy would write both responses."""
    return OfflineObjective(
        link=Sigmoid(beta=beta, label_smoothing=label_smoothing, labels=labels),
        pair_weight=AlignedProbability(alignment=alignment, cap=cap),
    )
