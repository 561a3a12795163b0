"""A reward model as a reward source: a callable with TRL's signature and named columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reward_models.formatting import Text
from reward_models.model import RewardModel


class ModelReward:
    """``source(prompts=..., completions=..., **columns)`` -> (N, K) float32, one column a head.

    Args:
        model: a folder, a hub name, or a loaded `RewardModel`.
        batch_size: rows in one forward pass.
        device: where to put the model; by default it stays where it is.
    """

    def __init__(self, model: str | Path | RewardModel, batch_size: int = 16, device: str | None = None) -> None:
        self.model = model if isinstance(model, RewardModel) else RewardModel.from_pretrained(model)
        if device is not None:
            self.model.to(torch.device(device))
        self.model.eval().requires_grad_(False)
        self.batch_size = batch_size
        self.__name__ = "+".join(self.names)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the reward columns."""
        return self.model.names

    def __call__(self, prompts: Sequence[Text], completions: Sequence[Text], **columns: Any) -> Tensor:
        """Score every completion for its prompt."""
        return self.model.score(prompts, completions, batch_size=self.batch_size)
