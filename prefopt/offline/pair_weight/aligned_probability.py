"""Pairs that the policy itself would write count more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from torch import Tensor

from prefopt.batch import PairOutputs, Pairs
from prefopt.errors import nearest
from prefopt.offline.slots import PairWeight, masked_mean

Alignment = Literal["sampled", "greedy", "none"]
_STATISTIC = {"sampled": "log_sum_sq_probs", "greedy": "max_logps", "none": ""}


@dataclass(frozen=True)
class AlignedProbability(PairWeight):
    """``W = min(cap, w(y_w) w(y_l))`` with ``w(y) = exp(1/T sum_t a_t)``, under the current policy.

    ``a_t = log p_t(y_t) - c_t``, where ``c_t`` is what the policy's own text would reach: ``log sum_v p_t(v)^2``
    (sampled: its expected probability), ``log max_v p_t(v)`` (greedy) or 0 (none).

    Attributes:
        alignment: ``sampled``, ``greedy`` or ``none``.
        cap: a sampled weight can exceed 1; the authors cap the pair's weight there.

    Reference: WPO, arXiv 2406.11827.
    """

    alignment: Alignment = "sampled"
    cap: float = 1.0
    arxiv: ClassVar[str] = "2406.11827"

    def __post_init__(self) -> None:
        if self.alignment not in get_args(Alignment):
            raise ValueError(
                f"alignment must be one of {', '.join(get_args(Alignment))}, not '{self.alignment}'."
                f"{nearest(self.alignment, get_args(Alignment))}"
            )
        if not self.cap > 0:
            raise ValueError(f"cap must be positive, not {self.cap}")

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        """The statistic of the whole vocabulary that the alignment reads, of both responses."""
        statistic = _STATISTIC[self.alignment]
        return frozenset({f"chosen_{statistic}", f"rejected_{statistic}"} if statistic else ())

    def __call__(self, policy: PairOutputs, pairs: Pairs) -> Tensor:
        """Return ``(N,)`` in (0, cap]."""
        statistic = _STATISTIC[self.alignment]
        chosen, rejected = policy.chosen_logps, policy.rejected_logps
        if statistic:
            chosen = chosen - policy.extras[f"chosen_{statistic}"]
            rejected = rejected - policy.extras[f"rejected_{statistic}"]
        log_weight = masked_mean(chosen, pairs.chosen_mask) + masked_mean(rejected, pairs.rejected_mask)
        return log_weight.exp().clamp(max=self.cap)
