"""Online recipes: the GRPO family, each the paper's sentence in parts."""

from __future__ import annotations

from prefopt.online.advantage import (
    GroupCentred,
    GroupNormalised,
    LeaveOneOut,
    RawReward,
    RunningBaseline,
    VirtualMaximum,
)
from prefopt.online.aggregate import ConstantLength, DeltaL, SequenceMean, SequenceSum, TokenMean
from prefopt.online.gate import CISPO, SAPO, Clip, LogProbability
from prefopt.online.objective import OnlineObjective
from prefopt.online.ratio import SequenceRatio
from prefopt.online.regularise import KL
from prefopt.online.sampling import InformativeGroups, UnsolvedGroups
from prefopt.online.slots import Regulariser
from prefopt.recipes.registry import recipe


def _kl(beta: float) -> tuple[Regulariser, ...]:
    """Return a KL penalty, or nothing for 0: then no reference model is needed."""
    return (KL(beta),) if beta else ()


@recipe(
    kind="online",
    card="04/baselines",
    confidence="A",
    title="Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning",
    year=1992,
    claim="A baseline lowers the gradient's variance and leaves its mean unchanged.",
)
def reinforce(baseline_momentum: float | None = None) -> OnlineObjective:
    """The reward, or the reward minus a running mean of earlier batches, times the score function."""
    advantage = RawReward() if baseline_momentum is None else RunningBaseline(baseline_momentum)
    return OnlineObjective(advantage=advantage, gate=LogProbability(), aggregate=SequenceSum())


@recipe(
    kind="online",
    card="04/baselines",
    confidence="A",
    arxiv="2402.14740",
    claim="The leave-one-out baseline lowers variance without bias and beats PPO at a lower cost.",
)
def rloo() -> OnlineObjective:
    """REINFORCE with the mean of the group's other completions as the baseline."""
    return OnlineObjective(advantage=LeaveOneOut(), gate=LogProbability(), aggregate=SequenceSum())


@recipe(
    kind="online",
    card="04/baselines",
    confidence="A",
    arxiv="2402.03300",
    claim="The group's mean and standard deviation replace a critic at equal quality.",
)
def grpo(
    clip_low: float = 0.2, clip_high: float = 0.2, beta: float = 0.0, ddof: int = 1, eps: float = 1e-4
) -> OnlineObjective:
    """Group z-score, clipped token ratio, mean over completions of the mean over tokens; beta adds the KL penalty.

    The paper uses beta = 0.04; today's trainers default to 0, and so do we.
    """
    return OnlineObjective(
        advantage=GroupNormalised(ddof, eps),
        gate=Clip(clip_low, clip_high),
        aggregate=SequenceMean(),
        regularise=_kl(beta),
    )


@recipe(
    kind="online",
    card="04/baselines",
    confidence="A",
    arxiv="2503.20783",
    claim="Without the two divisions wrong answers stop growing longer, at equal accuracy.",
)
def dr_grpo(
    max_length: int | None = None, clip_low: float = 0.2, clip_high: float = 0.2, beta: float = 0.0
) -> OnlineObjective:
    """GRPO without the division by the standard deviation, tokens summed and divided by a constant length."""
    return OnlineObjective(
        advantage=GroupCentred(),
        gate=Clip(clip_low, clip_high),
        aggregate=ConstantLength(max_length),
        regularise=_kl(beta),
    )


@recipe(
    kind="online",
    card="04/baselines",
    confidence="A",
    arxiv="2503.14476",
    claim="Clip-higher keeps entropy up; token means and informative groups speed learning on long answers.",
)
def dapo(clip_low: float = 0.2, clip_high: float = 0.28, ddof: int = 1, eps: float = 1e-4) -> OnlineObjective:
    """GRPO with a higher upper clip, a mean over all tokens, and only groups whose rewards differ.

    The paper refills the batch after leaving groups out; here it shrinks. The overlong penalty is a reward source.
    """
    return OnlineObjective(
        advantage=GroupNormalised(ddof, eps),
        gate=Clip(clip_low, clip_high),
        aggregate=TokenMean(),
        sampling=(InformativeGroups(),),
    )


@recipe(
    kind="online",
    card="05/ratio",
    confidence="A",
    arxiv="2507.18071",
    claim="Clipping whole completions stabilises training, above all of mixture-of-experts policies.",
)
def gspo(clip_low: float = 3e-4, clip_high: float = 4e-4, beta: float = 0.0) -> OnlineObjective:
    """GRPO with the length-normalised ratio of the whole completion, clipped within a narrow band."""
    return OnlineObjective(ratio=SequenceRatio(), gate=Clip(clip_low, clip_high), regularise=_kl(beta))


@recipe(
    kind="online",
    card="05/ratio",
    confidence="A",
    arxiv="2506.13585",
    claim="Capping the weight instead of clipping the update keeps the gradient of rare, decisive tokens.",
)
def cispo(cap: float = 5.0, beta: float = 0.0) -> OnlineObjective:
    """REINFORCE weighted by the detached, capped token ratio, with a mean over all tokens."""
    return OnlineObjective(gate=CISPO(cap), aggregate=TokenMean(), regularise=_kl(beta))


@recipe(
    kind="online",
    card="05/sapo",
    confidence="A",
    arxiv="2511.20347",
    claim="A soft gate sustains more updates a batch than a clip before the reward collapses.",
)
def sapo(tau_positive: float = 1.0, tau_negative: float = 1.05, beta: float = 0.0) -> OnlineObjective:
    """GRPO with a sigmoid gate around ratio 1 instead of the clip, hotter for negative advantages."""
    return OnlineObjective(gate=SAPO(tau_positive, tau_negative), regularise=_kl(beta))


@recipe(
    kind="online",
    card="05/delta_l",
    confidence="A",
    arxiv="2509.07558",
    claim="Weights T^-alpha give the gradient of least variance among those unbiased up to scale.",
)
def delta_l(
    alpha: float = 0.75,
    max_length: int | None = None,
    clip_low: float = 0.2,
    clip_high: float = 0.3,
    ddof: int = 1,
    eps: float = 1e-6,
) -> OnlineObjective:
    """GRPO whose completions are weighted by a negative power of their length before a constant-length sum."""
    return OnlineObjective(
        advantage=GroupNormalised(ddof, eps), gate=Clip(clip_low, clip_high), aggregate=DeltaL(alpha, max_length)
    )


@recipe(
    kind="online",
    card="04/ngrpo",
    confidence="A",
    arxiv="2509.18851",
    claim="Groups without a correct answer give a gradient; it helps with several updates a batch, not on-policy.",
)
def ngrpo(
    copies: int = 1, reward_max: float = 1.0, clip_low: float = 0.16, clip_high: float = 0.24, eps: float = 1e-6
) -> OnlineObjective:
    """GRPO with a virtual best completion in every group's statistics, an asymmetric clip, and no solved groups."""
    return OnlineObjective(
        advantage=VirtualMaximum(copies, reward_max, eps),
        gate=Clip(clip_low, clip_high),
        sampling=(UnsolvedGroups(reward_max),),
    )
