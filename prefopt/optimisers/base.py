"""What the optimisers here share: a closure, settings of a group, and which parameters have a gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class StepByParameter(Optimizer):
    """An optimiser that moves one parameter after the other. A subclass writes ``move``."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self.move(parameter, parameter.grad, self.state[parameter], group)
        return loss

    def move(self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Change ``parameter`` and ``state`` in place."""
        raise NotImplementedError


def adam_direction(
    gradient: Tensor, state: dict[str, Any], betas: tuple[float, float], eps: float
) -> tuple[Tensor, float]:
    """Advance Adam's moments in ``state``; return ``m / (sqrt(v) + eps)`` and its correction for their start at zero.

    The step is ``-lr * correction * direction`` with ``correction = sqrt(1 - beta2^t) / (1 - beta1^t)``.
    """
    if not state:
        state["step"] = torch.zeros(())
        state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
    state["step"] += 1
    first, second, step = state["exp_avg"], state["exp_avg_sq"], float(state["step"])
    first.mul_(betas[0]).add_(gradient, alpha=1 - betas[0])
    second.mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])
    correction = (1 - betas[1] ** step) ** 0.5 / (1 - betas[0] ** step)
    return first / second.sqrt().add_(eps), correction


def check_rates(lr: float, betas: tuple[float, float], eps: float, weight_decay: float) -> None:
    """Raise ``ValueError`` for a setting that no optimiser can use."""
    if lr < 0 or eps < 0 or weight_decay < 0:
        raise ValueError(f"lr, eps and weight_decay are not negative, unlike {lr}, {eps}, {weight_decay}")
    if not all(0 <= beta < 1 for beta in betas):
        raise ValueError(f"betas lie in [0, 1), not {betas}")
