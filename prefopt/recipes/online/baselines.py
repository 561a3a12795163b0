"""The reference estimators of the GRPO family."""

from __future__ import annotations

from prefopt.online.advantage import GroupCentred, GroupNormalised, LeaveOneOut, RawReward, RunningBaseline
from prefopt.online.aggregate import ConstantLength, SequenceMean, SequenceSum, TokenMean
from prefopt.online.gate import Clip, LogProbability
from prefopt.online.objective import OnlineObjective
from prefopt.online.sampling import InformativeGroups
from prefopt.recipes.online.penalties import kl_penalty
from prefopt.recipes.registry import recipe


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
        regularise=kl_penalty(beta),
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
        regularise=kl_penalty(beta),
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
