"""A trainer whose parameters no loss or gradient that is not finite ever reaches, and whose log says so."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from accelerate.utils import DistributedType
from torch import Tensor, nn

from prefopt.trainers.guards import gradients as guard_gradients
from prefopt.trainers.guards.finite_steps import NonFiniteError, SkipNonFiniteSteps
from prefopt.trainers.guards.report import some

__all__ = ["FiniteStepsMixin", "NonFiniteError", "SkipNonFiniteSteps"]

logger = logging.getLogger(__name__)
IN_PARTS = (DistributedType.FSDP, DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM, DistributedType.XLA)
"""Where a process has no norm of all gradients without asking others."""


class FiniteStepsMixin:
    """Put before a `transformers.Trainer` subclass whose ``args`` are `GuardArguments`.

    A trainer overrides `rows_of` to name the rows of a micro-batch, `text_of` for what is written of them, calls
    `watch` where it knows of which rows all is finite, and drops in `forget_step` what it counted of a step that is
    not taken. ``self.finite_steps.skipped`` counts.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        settings, accelerator = self.args, self.accelerator  # type: ignore[attr-defined]
        self.finite_steps = SkipNonFiniteSteps(
            accelerator, settings.max_non_finite, self.rows_of, self.text_of, settings.output_dir
        )
        self.add_callback(self.finite_steps)  # type: ignore[attr-defined]
        self._loss_before: Tensor | None = None
        self._bad_held_out: list[Any] = []
        if accelerator.distributed_type == DistributedType.DEEPSPEED or _steps_in_backward(settings):
            accelerator.backward = partial(self._checked_backward, accelerator.backward)

    @property
    def step_was_taken(self) -> bool:
        """Whether the optimiser moved in the step that was decided last."""
        return not self.finite_steps.skipping and not self.accelerator.optimizer_step_was_skipped  # type: ignore[attr-defined]

    def rows_of(self, inputs: Any) -> Sequence[Any]:
        """Names of the rows in a micro-batch, as the user knows them: by number, from 1 on."""
        rows = inputs.get("row", []) if isinstance(inputs, dict) else []
        return [f"row {i + 1}" for i in (rows.tolist() if isinstance(rows, Tensor) else rows)]

    def text_of(self, inputs: Any) -> Sequence[dict[str, Any]]:
        """What the rows of a micro-batch hold, a mapping each, as JSON."""
        return []

    def watch(self, batch: Any, sound: Tensor) -> None:
        """Remember of which rows of a training pass, ``(N,)`` bool, all numbers are finite."""
        if self.model.training:  # type: ignore[attr-defined]
            self.finite_steps.watch(batch, sound)

    def watch_held_out(self, batch: Any, losses: Tensor) -> None:
        """Remember the rows of an evaluation whose loss ``(N,)`` is not finite."""
        if not bool(torch.isfinite(losses).all()):
            bad = (~torch.isfinite(losses)).tolist()
            self._bad_held_out += [name for name, lost in zip(self.rows_of(batch), bad, strict=True) if lost]

    def forget_step(self) -> None:
        """A step is not taken: what was counted of it for the log is dropped here."""

    def training_step(self, model: nn.Module, inputs: Any, *args: Any, **kwargs: Any) -> Tensor:
        """One micro-batch, watched."""
        if self.finite_steps.at_start:
            self.remember_step()
        self.finite_steps.begin()
        loss: Tensor = super().training_step(model, inputs, *args, **kwargs)  # type: ignore[misc]
        self.finite_steps.observe(loss, inputs)
        return loss

    def remember_step(self) -> None:
        """A step begins: what is counted from now on may have to be forgotten."""
        before: Tensor | None = getattr(self, "_tr_loss", None)
        self._loss_before = None if before is None else before.detach().clone()

    def _clip_grad_norm(self, model: nn.Module) -> Any:
        norm = self._decided(model)
        if self.finite_steps.skipping:
            return norm
        if norm is None:
            return super()._clip_grad_norm(model)  # type: ignore[misc]
        # As `torch.nn.utils.clip_grad_norm_` does, with the norm that is known.
        torch.nn.utils.clip_grads_with_norm_(list(model.parameters()), self.args.max_grad_norm, norm)  # type: ignore[attr-defined]
        return norm

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        if self.finite_steps.undecided:
            grad_norm = self._decided(model)
        if self.finite_steps.skipping:
            return grad_norm
        found = super()._get_grad_norm(model, grad_norm)  # type: ignore[misc]
        if self.accelerator.distributed_type == DistributedType.DEEPSPEED:  # type: ignore[attr-defined]
            self._refuse_norm(found)
        return found

    def _decided(self, model: nn.Module) -> Tensor | None:
        """Let the guard decide; return the norm of all gradients where this process knows it."""
        accelerator = self.accelerator  # type: ignore[attr-defined]
        known = accelerator.distributed_type not in IN_PARTS and getattr(accelerator, "scaler", None) is None
        known = known and not guard_gradients.in_parts(model)
        norm = self.finite_steps.decide(model, self.state.global_step + 1, self.optimizer)  # type: ignore[attr-defined]
        if self.finite_steps.skipping:
            if self._loss_before is not None:
                self._tr_loss.copy_(self._loss_before)  # type: ignore[attr-defined]
            self.forget_step()
        return norm if known else None

    def _checked_backward(self, backward: Callable[..., None], loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Backward, in which DeepSpeed, or an optimiser of single layers, steps."""
        self.finite_steps.refuse(loss, self.model, self.state.global_step + 1)  # type: ignore[attr-defined]
        backward(loss, *args, **kwargs)

    def _refuse_norm(self, norm: Any) -> None:
        """DeepSpeed has stepped; in float16 it left out what overflowed."""
        overflows = self.accelerator.mixed_precision == "fp16"  # type: ignore[attr-defined]
        if norm is not None and not math.isfinite(norm) and not overflows:
            raise self.finite_steps.stopped(self.state.global_step + 1, [], "", self.model)  # type: ignore[attr-defined]

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Let logged losses be means over the steps that were taken, NaN where none was."""
        guard, step = self.finite_steps, self.state.global_step  # type: ignore[attr-defined]
        for name in logs.keys() & {"loss", "train_loss"}:
            logs[name] = guard.counts.mean_of_taken(logs[name], step, name == "train_loss")
            if guard.skipped:
                logs["skipped_steps"] = guard.skipped
        lost = sorted(name for name, value in logs.items() if _is_lost(name, value))
        if lost:
            rows = f"; rows: {some(self._bad_held_out)}" if self._bad_held_out else ""
            logger.warning("evaluation at step %d: %s is not finite%s", step, ", ".join(lost), rows)
        if any(name.startswith("eval_") for name in logs):
            self._bad_held_out = []
        super().log(logs, *args, **kwargs)  # type: ignore[misc]


def _steps_in_backward(settings: Any) -> bool:
    """Whether the optimiser moves each parameter as soon as its gradient is there, and leaves none behind."""
    name = str(getattr(settings.optim, "value", settings.optim))
    return name.endswith(("lomo", "_layerwise"))


def _is_lost(name: str, value: Any) -> bool:
    """Whether a line's entry is an evaluation's loss that is not finite."""
    return name.startswith("eval_") and name.endswith("loss") and not math.isfinite(value)
