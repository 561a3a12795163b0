"""A group in two halves by a metric, each row judged against the other half, its own, or both."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.composition import State
from prefopt.online.choice import check_choice
from prefopt.online.groups import Groups
from prefopt.online.slots import Advantage, masked
from prefopt.online.step_count import StepCount
from prefopt.online.unit_interval import to_unit_interval

Metric = Literal["entropy", "length"]
Schedule = Literal["constant", "anneal", "anneal_reversed", "cosine", "cosine_reversed"]


def restarted_cosine(step: float, top: float, bottom: float) -> float:
    """Return a linear rise to ``top`` over 30 steps, then three cosines of 40 steps from there to ``bottom``."""
    if step < 30:
        return top * step / 30
    if step >= 150:
        return bottom
    return bottom + (top - bottom) * (1 + math.cos(math.pi * ((step - 30) % 40) / 40)) / 2


@dataclass(frozen=True)
class ConditionalHalves(Advantage, StepCount):
    """``A_i = inter * (r_i - mean of the other half) + (1 - inter) * (r_i - mean of its own half)``.

    The low half holds the ``floor(G / 2)`` rows of least metric. Rows of the same metric at the border share the two
    halves evenly, so that the order of rows does not matter: a group with one metric throughout gives ``r - mean``, as
    do equal halves at ``inter = 1/2``. ``alpha`` scales the mean, or the reward, of the half that is not favoured:
    ``inter * (r_i - alpha * mean_other)`` in the favoured half, ``inter * (alpha * r_i - mean_other)`` in the other.
    Favoured are high entropy and short length. Groups with fewer than two scored rows give NaN.

    Attributes:
        metric: mean entropy of the tokens, or their number. alpha: below 1 it favours one half.
        inter: weight of the comparison with the other half, where the schedule is ``constant``.
        schedule: ``anneal``: ``inter`` is the batch's mean reward, ``anneal_reversed``: 1 minus that. ``cosine``: ``1 -
            inter`` rises to 0.6 over 30 steps and falls to 0 in cosines of 40 steps, three times; ``cosine_reversed``:
            ``inter`` follows such a curve between 1 and 0.4.
        reward_min, reward_max: range of the signal, mapped to [0, 1] by ``anneal``.

    Reference: CANON, arXiv 2509.23962.
    """

    metric: Metric = "entropy"
    inter: float = 1.0
    alpha: float = 1.0
    schedule: Schedule = "constant"
    reward_min: float = 0.0
    reward_max: float = 1.0
    arxiv: ClassVar[str] = "2509.23962"
    group_relative: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_choice("metric", self.metric, Metric)
        check_choice("schedule", self.schedule, Schedule)

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        """Entropies, where those are the metric."""
        return frozenset({"entropies"} if self.metric == "entropy" else ())

    def __call__(self, signal: Tensor, rollouts: Rollouts, *, state: State | None = None) -> Tensor:
        """Return ``(B,)``; without a state, as at step 0."""
        groups = Groups.of(rollouts.group, signal)
        rewards = signal.double()
        high = self._share_in_high_half(rollouts, groups)
        of_high = groups.total(high * rewards) / groups.total(high).clamp(min=1e-12)
        of_low = groups.total((1 - high) * rewards) / groups.total(1 - high).clamp(min=1e-12)
        inter = self._inter(signal, int((state or self.init_state())["step"]))
        favoured = high if self.metric == "entropy" else 1 - high
        above, below = (of_high, of_low) if self.metric == "entropy" else (of_low, of_high)
        in_favoured = inter * (rewards - self.alpha * below) + (1 - inter) * (rewards - above)
        in_other = inter * (self.alpha * rewards - above) + (1 - inter) * (rewards - below)
        found = favoured * in_favoured + (1 - favoured) * in_other
        if self.alpha == 1:
            found = found.where(~groups.uniform(signal), 0.0)
        return found.where(groups.compared, torch.nan).to(signal.dtype)

    def _share_in_high_half(self, rollouts: Rollouts, groups: Groups) -> Tensor:
        lengths = rollouts.mask.sum(-1).double()
        metric = lengths
        if self.metric == "entropy":
            metric = masked(rollouts.extras["entropies"].double(), rollouts.mask).sum(-1) / lengths.clamp(min=1)
        below, alike = groups.below(metric)
        return ((below + alike - (groups.count / 2).floor()) / alike.clamp(min=1)).clamp(0, 1)

    def _inter(self, signal: Tensor, step: int) -> Tensor | float:
        if self.schedule == "constant":
            return self.inter
        if self.schedule == "cosine":
            return 1 - restarted_cosine(step, 0.6, 0.0)
        if self.schedule == "cosine_reversed":
            return restarted_cosine(step, 1.0, 0.4)
        mean = to_unit_interval(signal, self.reward_min, self.reward_max, type(self).__name__).nanmean().nan_to_num()
        return mean if self.schedule == "anneal" else 1 - mean
