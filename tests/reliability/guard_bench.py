"""The guard on one parameter without a trainer: a step of AdamW with momentum and weight decay, taken or skipped."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import torch
from accelerate.utils import DistributedType
from torch import Tensor, nn

from prefopt.trainers.guards.mixin import SkipNonFiniteSteps
from scripts.faults.poisoning.steps import same

__all__ = ["ALONE", "Bench", "same"]

ALONE: dict[str, Any] = {
    "num_processes": 1,
    "process_index": 0,
    "device": torch.device("cpu"),
    "distributed_type": DistributedType.NO,
    "scaler": None,
    "optimizer_step_was_skipped": False,
}


class Bench(nn.Module):
    """A parameter of any shape whose optimiser has taken one step already, so that its moments are not zero."""

    def __init__(self, start: Tensor, optimiser: Any = None, **accelerator: Any) -> None:
        super().__init__()
        self.theta = nn.Parameter(start.detach().clone())
        make = optimiser or (lambda parameters: torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.1))
        self.optimiser = make([self.theta])
        self.theta.grad = torch.full_like(self.theta, 0.5)
        self.optimiser.step()
        with torch.no_grad():
            self.theta.copy_(start)
        self.theta.grad = None
        self.guard = SkipNonFiniteSteps(SimpleNamespace(**{**ALONE, **accelerator}), max_consecutive=10**6)

    def step(self, loss: Tensor, sound: Tensor | None = None) -> bool:
        """Backward, decide, step; whether the step was taken."""
        self.guard.begin()
        if sound is not None:
            self.guard.watch({}, sound)
        if loss.requires_grad:
            loss.backward()
        self.guard.observe(loss, {})
        self.guard.decide(self, 1, self.optimiser)
        self.optimiser.step()
        self.optimiser.zero_grad()
        return not self.guard.skipping

    def everything(self) -> dict[str, Any]:
        """A copy of the parameter and of all that the optimiser remembers."""
        return copy.deepcopy({"theta": self.theta.detach(), **self.optimiser.state_dict()})
