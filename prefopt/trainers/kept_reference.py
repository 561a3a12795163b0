"""A trainer whose reference may move, and whose checkpoints hold it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn
from transformers import TrainerCallback

from prefopt.trainers.moving_reference import MovingWeights


class MovesReference(TrainerCallback):
    """Updates the reference after optimiser steps that were taken, before a checkpoint of the same step is written."""

    def __init__(self, weights: MovingWeights, accelerator: Any, taken: Callable[[], bool]) -> None:
        self.weights, self.accelerator, self.taken = weights, accelerator, taken

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """One optimiser step is done."""
        if self.taken():
            self.weights.after_step(state.global_step, self.accelerator.unwrap_model(kwargs["model"]))


class KeepsReferenceMixin:
    """Put before a `transformers.Trainer` subclass, which calls `move_reference` once its model is in place."""

    moving_weights: MovingWeights | None = None

    def move_reference(self, weights: MovingWeights | None) -> None:
        """Update these weights from now on, and keep them in checkpoints; None where the reference stands still."""
        self.moving_weights = weights
        if weights is not None:
            self.add_callback(MovesReference(weights, self.accelerator, lambda: self.step_was_taken))  # type: ignore[attr-defined]

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        if self.moving_weights is not None and self.args.should_save:  # type: ignore[attr-defined]
            folder = Path(self._get_output_dir(trial=trial))  # type: ignore[attr-defined]
            self.moving_weights.save(folder / f"checkpoint-{self.state.global_step}")  # type: ignore[attr-defined]
        super()._save_checkpoint(model, trial)  # type: ignore[misc]

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)  # type: ignore[misc]
        if checkpoint is not None and self.moving_weights is not None:
            self.moving_weights.load(Path(checkpoint))
