"""The reward minus a running mean of earlier batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.composition import State, StatefulPart
from prefopt.online.slots import Advantage


@dataclass(frozen=True)
class RunningBaseline(Advantage, StatefulPart):
    """``A_i = r_i - b``, with ``b <- momentum * b + (1 - momentum) * mean(r)`` after each optimiser step.

    ``b`` is zero before the first step and is corrected for that start: ``b / (1 - momentum^steps)``. The batch itself
    never enters its own baseline, so the estimator stays unbiased.

    Attributes:
        momentum: in [0, 1); 0 takes the mean of the batch before.
    """

    momentum: float = 0.9

    def __post_init__(self) -> None:
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1), not {self.momentum}")

    def init_state(self) -> State:
        """Return a zero mean after zero steps."""
        return {"mean": torch.zeros((), dtype=torch.float64), "steps": torch.zeros((), dtype=torch.int64)}

    def __call__(self, signal: Tensor, rollouts: Rollouts, *, state: State | None = None) -> Tensor:
        """Return ``(B,)``; without a state, as before the first step."""
        state = state or self.init_state()
        steps = state["steps"].double()
        corrected = state["mean"] / (1 - self.momentum**steps) if steps > 0 else state["mean"]
        return signal - corrected.to(signal)

    def statistics(self, signal: Tensor, rollouts: Rollouts, *, state: State | None = None) -> State:
        """Return the batch's mean over scored rows, and how many there are."""
        scored = ~torch.isnan(signal)
        return {"total": torch.where(scored, signal, 0.0).double().sum(), "count": scored.sum()}

    def update(self, state: State, statistics: Mapping[str, Tensor]) -> State:
        """Move the mean; a batch without a scored row changes nothing."""
        if statistics["count"] == 0:
            return state
        mean = statistics["total"] / statistics["count"]
        moved = self.momentum * state["mean"] + (1 - self.momentum) * mean.to(state["mean"])
        return {"mean": moved, "steps": state["steps"] + 1}
