"""Weights of a checkpoint whose names in the file are not those in the model, such as those of a mixture of experts.

transformers writes the experts of a layer one by one and holds them as one tensor. Its trainer reads a checkpoint
without putting them together again: it names them in the log, and goes on with the experts that the model began with.
"""

from __future__ import annotations

from typing import Any

import torch

from prefopt.errors import UserError
from prefopt.trainers.adapted import bare


class RenamedWeightsMixin:
    """Put before a `transformers.Trainer` subclass."""

    _names_differ = False

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)  # type: ignore[misc]
        self._load_by_architecture(resume_from_checkpoint, model)

    def _load_best_model(self) -> None:
        super()._load_best_model()  # type: ignore[misc]
        self._load_by_architecture(self.state.best_model_checkpoint, None)  # type: ignore[attr-defined]

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        # Parts beside the model, which have files of their own, are missing without anything being left over.
        self._names_differ = bool(load_result.missing_keys and load_result.unexpected_keys)
        if not self._names_differ:
            super()._issue_warnings_after_load(load_result)  # type: ignore[misc]

    def _load_by_architecture(self, folder: str, model: Any) -> None:
        """Read the weights as the model's own class does, which knows both kinds of names."""
        if not self._names_differ:
            return
        self._names_differ = False
        trained = bare(self.accelerator.unwrap_model(self.model if model is None else model))  # type: ignore[attr-defined]
        # Narrower numbers are float32 as well, so that nothing is rounded.
        dtype = torch.float64 if trained.dtype == torch.float64 else torch.float32
        read, said = type(trained).from_pretrained(folder, dtype=dtype, output_loading_info=True)
        if said["missing_keys"] or said["unexpected_keys"]:
            lost = sorted([*said["missing_keys"], *said["unexpected_keys"]])
            raise UserError(
                f"the weights of {folder} are not those of a {type(trained).__name__}: {', '.join(lost[:5])}"
            )
        trained.load_state_dict(read.state_dict(), strict=False)
