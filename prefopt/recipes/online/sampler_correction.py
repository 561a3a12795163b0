"""Corrections for a sampling engine whose probabilities differ from the trainer's."""

from __future__ import annotations

from prefopt.online.gate import Clip
from prefopt.online.objective import OnlineObjective
from prefopt.online.sampler_gap import Level
from prefopt.online.token_weight import SamplerImportance, SamplerRejection
from prefopt.online.token_weight.sampler_rejection import Measure, Pooling
from prefopt.recipes.online.penalties import kl_penalty
from prefopt.recipes.registry import recipe


def _corrected(
    importance: SamplerImportance,
    measure: Measure | None,
    pooling: Pooling,
    low: float | None,
    high: float | None,
    beta: float,
) -> OnlineObjective:
    """Return GRPO with the importance weight and, where a measure is named, a rejection."""
    rejection = () if measure is None else (SamplerRejection(measure, pooling, low, high),)
    return OnlineObjective(token_weight=(importance, *rejection), gate=Clip(), regularise=kl_penalty(beta))


@recipe(
    kind="online",
    card="05/sampler_correction",
    confidence="B",
    arxiv="2601.18150",
    claim="With a quantised sampler, truncated token weights keep the reward curve of the exact one.",
)
def tis(
    level: Level = "token",
    low: float = 0.0,
    high: float = 2.0,
    normalise: bool = False,
    reject: Measure | None = None,
    reject_pooling: Pooling = "seq_mean",
    reject_low: float | None = None,
    reject_high: float | None = None,
    beta: float = 0.0,
) -> OnlineObjective:
    """GRPO times the importance weight from trainer to sampler, truncated; the KL penalty is not weighted.

    ``reject`` k1, k2 or k3 also leaves out tokens or completions whose divergence lies outside its bounds.
    """
    importance = SamplerImportance(level, "truncate", low, high, normalise)
    return _corrected(importance, reject, reject_pooling, reject_low, reject_high, beta)


@recipe(
    kind="online",
    card="05/sampler_correction",
    confidence="B",
    arxiv="2601.18150",
    claim="Leaving out what trainer and sampler disagree on prevents collapse under their mismatch.",
)
def mis(
    level: Level = "sequence",
    low: float = 0.5,
    high: float = 2.0,
    normalise: bool = False,
    reject: Measure | None = None,
    reject_pooling: Pooling = "seq_mean",
    reject_low: float | None = None,
    reject_high: float | None = None,
    beta: float = 0.0,
) -> OnlineObjective:
    """GRPO times the importance weight from trainer to sampler, 0 where it lies outside its bounds.

    ``level="token"`` is IcePop's form; TRL's default is ``low=0, high=3``. ``reject`` is as in ``tis``.
    """
    importance = SamplerImportance(level, "mask", low, high, normalise)
    return _corrected(importance, reject, reject_pooling, reject_low, reject_high, beta)
