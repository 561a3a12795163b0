"""An optimiser and its settings, before there is a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from prefopt.optimisers.groups import parameter_groups


@dataclass(frozen=True)
class OptimiserChoice:
    """What a recipe of kind optimiser builds: called with a model, it gives a ``torch.optim.Optimizer``.

    Attributes:
        kind: class of the optimiser; it takes groups that say ``matrices`` and ``weight_decay``.
        settings: its own settings, without learning rate and weight decay.
    """

    kind: type[Optimizer]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # So that wrong settings are refused now, before a model is loaded.
        self._of([{"params": [nn.Parameter(torch.zeros(1, 1))]}], 0.0)

    def __call__(self, model: nn.Module, lr: float, weight_decay: float = 0.0) -> Optimizer:
        """Return the optimiser of the model's parameters that learn."""
        return self._of(parameter_groups(model, weight_decay), lr)

    def _of(self, groups: list[dict[str, Any]], lr: float) -> Optimizer:
        return self.kind(groups, lr=lr, **self.settings)  # type: ignore[call-arg]
