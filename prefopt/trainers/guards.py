"""What a trainer does when a loss or a gradient is not finite: skip, say which rows, stop after three in a row."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn
from transformers import TrainerCallback

from prefopt.errors import UserError

logger = logging.getLogger(__name__)


class NonFiniteError(UserError):
    """Several steps in a row had a loss or gradient that is not finite. Parameters are those of the last good step."""


class SkipNonFiniteSteps(TrainerCallback):
    """Drops the gradients of a bad step before the optimiser sees them.

    A step is bad when any micro-batch's loss, or any gradient, is not finite on any rank; all ranks decide together.
    Parameters and optimiser state stay as they were; step counter and learning-rate schedule advance, so that the data
    order of a resumed run is the same. After ``max_consecutive`` bad steps in a row `NonFiniteError` names the rows;
    nothing is saved on the way out, so the last checkpoint is the last good one.

    A float16 gradient scaler skips overflowing steps by design and is left to do so. DeepSpeed keeps gradients to
    itself: there only the loss is checked.
    """

    def __init__(self, accelerator: Any, max_consecutive: int = 3) -> None:
        self.accelerator = accelerator
        self.max_consecutive = max_consecutive
        self.skipped = 0
        self.consecutive = 0
        self._seen: list[Any] = []
        self._bad: list[Any] = []

    def observe(self, loss: Tensor, rows: Sequence[Any]) -> None:
        """Remember one micro-batch's loss and the rows that it was made of."""
        self._seen.extend(rows)
        if not bool(torch.isfinite(loss).all()):
            self._bad.extend(rows if rows else ["(rows unknown)"])

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Decide on all ranks whether this step is taken."""
        model = kwargs["model"]
        scaled = getattr(self.accelerator, "scaler", None) is not None
        gradients = [] if scaled else [p.grad for p in model.parameters() if p.grad is not None]
        finite = _all_finite(gradients)
        mine = bool(self._bad) or not finite
        if not self._any_rank(mine):
            self.consecutive = 0
            self._forget()
            return
        rows = self._bad if self._bad else (self._seen if not finite else [])
        everywhere = list(dict.fromkeys(gather_object(list(rows)))) if self.accelerator.num_processes > 1 else rows
        self._forget()
        if not scaled:
            _drop_gradients(model)
        self.skipped += 1
        self.consecutive += 1
        shown = ", ".join(map(str, everywhere[:16])) + (" ..." if len(everywhere) > 16 else "")
        logger.warning("step %d skipped: loss or gradient is not finite; rows: %s", state.global_step + 1, shown)
        if self.consecutive >= self.max_consecutive:
            raise NonFiniteError(
                f"training stopped at step {state.global_step + 1}: loss or gradient was not finite in "
                f"{self.consecutive} steps in a row; the last rows were {shown}. Look at these rows, or lower the "
                "learning rate; the last checkpoint is intact."
            )

    def _any_rank(self, flag: bool) -> bool:
        if self.accelerator.num_processes == 1:
            return flag
        count = torch.tensor(float(flag), device=self.accelerator.device)
        return bool(self.accelerator.reduce(count, reduction="sum") > 0)

    def _forget(self) -> None:
        self._seen, self._bad = [], []


class FiniteStepsMixin:
    """Put before a `transformers.Trainer` subclass: ``class MyTrainer(FiniteStepsMixin, Trainer)``.

    A trainer overrides `rows_of` to name the rows of a micro-batch; ``self.finite_steps.skipped`` counts.
    """

    max_consecutive_non_finite = 3

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.finite_steps = SkipNonFiniteSteps(self.accelerator, self.max_consecutive_non_finite)  # type: ignore[attr-defined]
        self.add_callback(self.finite_steps)  # type: ignore[attr-defined]

    def rows_of(self, inputs: Any) -> Sequence[Any]:
        """Names of the rows in a micro-batch, as the user knows them."""
        rows = inputs.get("row", []) if isinstance(inputs, dict) else []
        return rows.tolist() if isinstance(rows, Tensor) else list(rows)

    def training_step(self, model: nn.Module, inputs: Any, *args: Any, **kwargs: Any) -> Tensor:
        """One micro-batch, watched."""
        rows = self.rows_of(inputs)
        loss = super().training_step(model, inputs, *args, **kwargs)  # type: ignore[misc]
        self.finite_steps.observe(loss, rows)
        return loss


def _all_finite(gradients: list[Tensor]) -> bool:
    if not gradients:
        return True
    return bool(torch.isfinite(torch.nn.utils.get_total_norm(gradients)))


def _drop_gradients(model: nn.Module) -> None:
    for parameter in model.parameters():
        parameter.grad = None
