"""Other ratios and other uses of the ratio."""

from __future__ import annotations

from prefopt.online.aggregate import SequenceSum, TokenMean
from prefopt.online.gate import CISPO, VESPO, Clip, DualClip, GeometricMean
from prefopt.online.objective import OnlineObjective
from prefopt.online.policy_weight import OffPolicyMask
from prefopt.online.ratio import ProductRatio, SequenceRatio
from prefopt.recipes.online.penalties import kl_penalty
from prefopt.recipes.registry import recipe


@recipe(
    kind="online",
    card="05/ratio",
    confidence="A",
    arxiv="2507.18071",
    claim="Clipping whole completions stabilises training, above all of mixture-of-experts policies.",
)
def gspo(clip_low: float = 3e-4, clip_high: float = 4e-4, beta: float = 0.0) -> OnlineObjective:
    """GRPO with the length-normalised ratio of the whole completion, clipped within a narrow band."""
    return OnlineObjective(ratio=SequenceRatio(), gate=Clip(clip_low, clip_high), regularise=kl_penalty(beta))


@recipe(
    kind="online",
    card="05/ratio",
    confidence="A",
    arxiv="2506.13585",
    claim="Capping the weight instead of clipping the update keeps the gradient of rare, decisive tokens.",
)
def cispo(cap: float = 5.0, beta: float = 0.0) -> OnlineObjective:
    """REINFORCE weighted by the detached, capped token ratio, with a mean over all tokens."""
    return OnlineObjective(gate=CISPO(cap), aggregate=TokenMean(), regularise=kl_penalty(beta))


@recipe(
    kind="online",
    card="05/ratio",
    confidence="A",
    arxiv="2503.14476",
    claim="A higher upper clip lets rare tokens grow, so that entropy does not collapse.",
)
def clip_higher(clip_low: float = 0.2, clip_high: float = 0.28, beta: float = 0.0) -> OnlineObjective:
    """GRPO with a higher upper clip and a mean over all tokens: DAPO without its sampling."""
    return OnlineObjective(gate=Clip(clip_low, clip_high), aggregate=TokenMean(), regularise=kl_penalty(beta))


@recipe(
    kind="online",
    card="05/ratio",
    confidence="A",
    arxiv="1912.09729",
    claim="One outlier of negative advantage and large ratio no longer makes the whole gradient.",
)
def dual_clip(clip_low: float = 0.2, clip_high: float = 0.2, bound: float = 3.0, beta: float = 0.0) -> OnlineObjective:
    """GRPO whose loss is bounded for negative advantages too; bound=4 is the two-sided clip of INTELLECT-2."""
    return OnlineObjective(gate=DualClip(clip_low, clip_high, bound), regularise=kl_penalty(beta))


@recipe(
    kind="online",
    card="05/ratio",
    confidence="A",
    arxiv="2507.20673",
    claim="The geometric mean of clamped ratios leaves fewer tokens without gradient than PPO's clip, and no outliers.",
)
def gmpo(clip_low: float = 0.4, clip_high: float = 0.4, beta: float = 0.0) -> OnlineObjective:
    """GRPO on the geometric mean of a completion's ratios, each clamped on one side; bounds are of the log-ratio."""
    return OnlineObjective(gate=GeometricMean(clip_low, clip_high), regularise=kl_penalty(beta))


@recipe(
    kind="online",
    card="05/ratio",
    confidence="A",
    arxiv="2602.10693",
    claim="A soft weight of the whole completion's ratio is never cut off, and stable on stale data.",
)
def vespo(
    k_positive: float = 2.0,
    lambda_positive: float = 3.0,
    k_negative: float = 3.0,
    lambda_negative: float = 2.0,
    beta: float = 0.0,
) -> OnlineObjective:
    """REINFORCE weighted by a smooth bump in the product of a completion's ratios, with a mean over all tokens."""
    gate = VESPO(k_positive, lambda_positive, k_negative, lambda_negative)
    return OnlineObjective(ratio=ProductRatio(), gate=gate, aggregate=TokenMean(), regularise=kl_penalty(beta))


@recipe(
    kind="online",
    card="05/ratio",
    confidence="A",
    arxiv="2602.05261",
    claim="Completions no longer grow shorter because each token of a long one counts less.",
)
def luspo(clip_low: float = 2e-3, clip_high: float = 2.5e-3, beta: float = 0.0) -> OnlineObjective:
    """GSPO whose loss is multiplied by the completion's length: the clipped sequence ratio, summed over tokens."""
    return OnlineObjective(
        ratio=SequenceRatio(),
        gate=Clip(clip_low, clip_high),
        aggregate=SequenceSum(),
        regularise=kl_penalty(beta),
    )


@recipe(
    kind="online",
    card="05/ratio",
    confidence="A",
    arxiv="2512.02556",
    claim="Bad completions that the policy would hardly write any more stop disturbing it.",
)
def opsm(threshold: float = 0.5, clip_low: float = 0.2, clip_high: float = 0.2, beta: float = 0.0) -> OnlineObjective:
    """GRPO without completions of negative advantage from which the policy has drifted away since they were sampled."""
    return OnlineObjective(
        policy_weight=(OffPolicyMask(threshold),), gate=Clip(clip_low, clip_high), regularise=kl_penalty(beta)
    )
