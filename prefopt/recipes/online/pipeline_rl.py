"""The loss and the bookkeeping of PipelineRL."""

from __future__ import annotations

from prefopt.online.advantage import LeaveOneOut
from prefopt.online.aggregate import SequenceSum
from prefopt.online.gate import CISPO
from prefopt.online.objective import OnlineObjective
from prefopt.online.sampling import FinishedCompletions, InformativeGroups, MaxLag
from prefopt.online.slots import Sampling
from prefopt.online.token_weight import OneSign
from prefopt.recipes.online.penalties import kl_penalty
from prefopt.recipes.registry import recipe


@recipe(
    kind="online",
    card="05/pipeline_rl",
    confidence="A",
    arxiv="2509.19128",
    claim="Swapping weights while generating keeps ratios closer to 1 than the same mean lag applied to whole batches.",
)
def pipeline_rl(
    clip_high: float = 0.02,
    normalise: bool = False,
    max_lag: float | None = None,
    whole_batch: bool = False,
    finished_only: bool = False,
    informative_only: bool = False,
    positive_only: bool = False,
    beta: float = 0.0,
) -> OnlineObjective:
    """REINFORCE with a leave-one-out baseline and the ratio to the sampling-time policy, capped at 1 + clip_high.

    Log-probabilities of the rollouts are those recorded when each token was sampled, by whatever weights were in use:
    computing them anew would lose the ratio of mixed versions. ``max_lag`` leaves out completions begun too many
    weight versions ago and logs the lag; infinity only logs. The other switches are options of the released code.
    """
    kept: tuple[Sampling, ...] = (FinishedCompletions(),) if finished_only else ()
    kept += (InformativeGroups(),) if informative_only else ()
    kept += (MaxLag(max_lag, whole_batch),) if max_lag is not None else ()
    return OnlineObjective(
        advantage=LeaveOneOut(normalise),
        token_weight=(OneSign("positive"),) if positive_only else (),
        gate=CISPO(1 + clip_high),
        aggregate=SequenceSum(),
        regularise=kl_penalty(beta),
        sampling=kept,
    )
