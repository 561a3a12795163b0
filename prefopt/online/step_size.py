"""The learning rate from the gradient's signal and noise: for a trainer's callback, beside any method.

A reconstruction of OBLR-PO (arXiv 2511.23310) from its abstract: for an L-smooth objective the best step of stochastic
gradient descent is ``(1 / L) ||E g||^2 / (||E g||^2 + tr Var g)``. The proxies are those of optimal token baselines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from prefopt.composition import State


def squared_score_norms(probabilities: Tensor, sums_of_squares: Tensor, mask: Tensor) -> Tensor:
    """Return ``(B,)``: ``sum_t (1 - 2 p_t + sum_v p_v^2)``, a proxy of ``||grad log pi(y)||^2``.

    Each term is the squared gradient of the token's log-probability with respect to its logits.

    Args:
        probabilities: ``(B, T)`` of the tokens drawn. sums_of_squares: ``(B, T)``, over the vocabulary.
        mask: ``(B, T)``.
    """
    return (1 - 2 * probabilities + sums_of_squares).where(mask, 0.0).sum(-1)


def gradient_noise(squared_gradient: Tensor, advantages: Tensor, squared_norms: Tensor) -> Tensor:
    """Return the variance of the batch's gradient, ``max(0, (E - S) / (N - 1))`` with ``E = mean_i A_i^2 n_i``.

    Args:
        squared_gradient: S, squared norm of the batch's gradient, a scalar.
        advantages, squared_norms: ``(N,)`` of its completions; at least two.
    """
    power = (advantages**2 * squared_norms).mean()
    return ((power - squared_gradient) / (len(advantages) - 1)).clamp(min=0)


@dataclass(frozen=True)
class StepSize:
    """``factor = S / (S + V)``, clamped to ``[low, high]``; S and V are running means.

    Attributes:
        momentum: of the running means, which start at the first step's values.
        low, high: bounds of the factor; ours, the paper's are not known.
    """

    momentum: float = 0.9
    low: float = 0.1
    high: float = 1.0

    def init_state(self) -> State:
        """Return no signal, no noise, no step."""
        zero = torch.zeros((), dtype=torch.float64)
        return {"signal": zero, "noise": zero, "steps": torch.zeros((), dtype=torch.int64)}

    def factor(self, state: Mapping[str, Tensor]) -> float:
        """Return what to multiply the base learning rate with; ``high`` before the first step."""
        total = state["signal"] + state["noise"]
        share = float(state["signal"] / total) if total > 0 else self.high
        return min(max(share, self.low), self.high)

    def update(self, state: Mapping[str, Tensor], signal: Tensor, noise: Tensor) -> State:
        """Return the state after a step whose gradient had squared norm ``signal`` and variance ``noise``."""
        keep = self.momentum if state["steps"] > 0 else 0.0
        moved = {
            name: keep * state[name] + (1 - keep) * value.double()
            for name, value in (("signal", signal), ("noise", noise))
        }
        return {**moved, "steps": state["steps"] + 1}
