"""What makes a resumed run the run that was not stopped, beyond the states of its parts.

transformers forgets the losses since the last log line and what callbacks counted, repeats an evaluation on start,
drops what an epoch's end would have brought where the checkpoint is of its last step, and trains one step more where
nothing was left to do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import EarlyStoppingCallback, TrainerCallback
from transformers.trainer_callback import ExportableState

from prefopt.trainers.fixed_weights import check_fixed_weights, fixed_weights
from prefopt.trainers.renamed_weights import RenamedWeightsMixin

NAME = "open_figures"


class GoesOn(TrainerCallback):
    """Tells a trainer that training begins, and when an epoch is over."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Everything is loaded."""
        self.trainer.go_on()

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Checkpoints are written as they are due."""
        self.trainer.epoch_is_over = False

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The checkpoint of the epoch's last step is due once the epoch's own line and evaluation are done."""
        control.should_save |= self.trainer.save_is_due
        self.trainer.save_is_due, self.trainer.epoch_is_over = False, True


class ResumesMixin(RenamedWeightsMixin):
    """Put before a `transformers.Trainer` subclass, which says in `open_figures` what its next log line is made of."""

    save_is_due = epoch_is_over = False
    _resumed_from: Path | None = None
    _fixed: Mapping[str, str] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.add_callback(GoesOn(self))  # type: ignore[attr-defined]

    def open_figures(self) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
        """Return what this process has added up since the last log line: tensors, and what JSON holds."""
        return {}, {}

    def take_figures(self, tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> None:
        """Go on adding to what `open_figures` gave."""

    def go_on(self) -> None:
        """Training begins: put back what transformers has set to its start."""
        folder, self._resumed_from = self._resumed_from, None
        if folder is None:
            return
        trainer: Any = self
        # Where nothing is left to do, nobody else reads them, and an evaluation afterwards may sample.
        trainer._load_rng_state(str(folder))
        own = folder / f"{NAME}_{trainer.args.process_index}.json"
        # Where there are more processes than then, those of now begin with the loss of the first, and no sums.
        file = own if own.is_file() else folder / f"{NAME}_0.json"
        if file.is_file():
            about = json.loads(file.read_text(encoding="utf-8"))
            check_fixed_weights(about.get("fixed_weights", {}), trainer)
            trainer._tr_loss = torch.full_like(trainer._tr_loss, about["loss"])
            # Those losses are in the next line, and not in the mean over the steps of this call.
            trainer._total_loss_scalar = -about["loss"]
            trainer._globalstep_last_logged = about["last_line"]
        if own.is_file():
            self.take_figures(load_file(own.with_suffix(".safetensors")), about["figures"])
        trainer.control.should_training_stop |= _had_ended(trainer)

    def _load_callback_state(self) -> None:
        # transformers would make new callbacks, with the settings of then.
        _restore(self.callback_handler.callbacks, self.state.stateful_callbacks)  # type: ignore[attr-defined]

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        if not self.control.should_training_stop:  # type: ignore[attr-defined]
            super()._run_epoch(*args, **kwargs)  # type: ignore[misc]

    def _evaluate(self, trial: Any, ignore_keys_for_eval: Any, skip_scheduler: bool = False) -> Any:
        # Only the evaluation on start leaves the schedule alone, and a resumed run has had it.
        if skip_scheduler and self.state.global_step:  # type: ignore[attr-defined]
            return {}
        return super()._evaluate(trial, ignore_keys_for_eval, skip_scheduler)  # type: ignore[misc]

    def _maybe_log_save_evaluate(
        self, tr_loss: Any, grad_norm: Any, model: Any, trial: Any, epoch: int, *args: Any, **kwargs: Any
    ) -> None:
        state, control = self.state, self.control  # type: ignore[attr-defined]
        last = state.global_step >= state.max_steps or state.epoch >= epoch + 1
        if control.should_save and last and not self.epoch_is_over:
            control.should_save, self.save_is_due = False, True
        super()._maybe_log_save_evaluate(tr_loss, grad_norm, model, trial, epoch, *args, **kwargs)  # type: ignore[misc]

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)  # type: ignore[misc]
        trainer: Any = self
        tensors, figures = self.open_figures()
        if self._fixed is None:
            self._fixed = fixed_weights(trainer)
        about = {
            "loss": float(trainer._tr_loss), "last_line": trainer._globalstep_last_logged, "figures": figures,
            "fixed_weights": self._fixed,
        }  # fmt: skip
        file = Path(output_dir) / f"{NAME}_{trainer.args.process_index}.json"
        # Some tensors share memory, which safetensors refuses.
        save_file({name: one.detach().cpu().clone() for name, one in tensors.items()}, file.with_suffix(".safetensors"))
        file.write_text(json.dumps(about), encoding="utf-8")

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)  # type: ignore[misc]
        self._resumed_from = None if checkpoint is None else Path(checkpoint)


def _restore(callbacks: list[Any], saved: dict[str, Any]) -> None:
    """Give callbacks what those of their class had counted, and make room for those that were not there."""
    counting = [one for one in callbacks if isinstance(one, ExportableState)]
    for kind in {type(one).__name__ for one in counting}:
        same = [one for one in counting if type(one).__name__ == kind]
        # transformers adds to a list at every save.
        states = saved[kind][-len(same) :] if isinstance(saved.get(kind), list) else [saved.get(kind)]
        for one, state in zip(same, states, strict=False):
            for name, value in (state or {}).get("attributes", {}).items():
                setattr(one, name, value)
        saved[kind] = [one.state() for one in same] if len(same) > 1 else same[0].state()


def _had_ended(trainer: Any) -> bool:
    """Whether the run that is resumed had come to its end, and was not just stopped."""
    patience = [one for one in trainer.callback_handler.callbacks if isinstance(one, EarlyStoppingCallback)]
    return trainer.state.global_step >= trainer.state.max_steps or any(
        one.early_stopping_patience_counter >= one.early_stopping_patience for one in patience
    )
