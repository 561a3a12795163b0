"""Whether an optimiser step is taken: only where every loss and gradient of it is finite, on every process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import DistributedType
from torch import Tensor, nn
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from prefopt.errors import UserError
from prefopt.trainers.checkpointing.choice import newest_whole_checkpoint
from prefopt.trainers.guards import gradients as guard_gradients
from prefopt.trainers.guards.report import MicroBatch, Report
from prefopt.trainers.last_words import last_words
from prefopt.trainers.step_counts import StepCounts

logger = logging.getLogger(__name__)


class NonFiniteError(UserError):
    """Several steps in a row had a loss or gradient that is not finite. Parameters are those of the last good step."""


class SkipNonFiniteSteps(TrainerCallback, ExportableState):
    """Drops the gradients of a bad step before clipping and optimiser see them.

    A step is bad when, on any rank, a micro-batch's loss, a number of a row that was watched, or the norm of the
    gradients is not finite; all ranks decide together. Until then everything stays on the device: a step waits for it
    once, however many parameters and micro-batches there are.

    Parameters, optimiser state, objective state and a moving reference stay as they were; step counter and
    learning-rate schedule advance, so that the data order of a resumed run is the same. After ``max_consecutive`` bad
    steps in a row `NonFiniteError` names the rows; nothing is saved on the way out, so the last checkpoint is the last
    good one.

    A float16 gradient scaler skips overflowing steps by design and is left to do so; where its scale has fallen below
    1, the gradients themselves are not finite, and the step counts as bad. DeepSpeed steps inside its backward pass,
    where nothing can be skipped from outside: a loss that is not finite stops the run before it, a gradient norm after.
    LOMO and the ``_layerwise`` optimisers step there as well, and leave no gradient to look at: of them only the loss
    is checked, one number read a micro-batch.

    ``skipping`` says whether the step that was decided last is not taken, ``undecided`` that none was since the last
    micro-batch.

    Args:
        accelerator: the trainer's.
        max_consecutive: bad steps in a row that stop the run.
        rows_of, text_of, folder: see `Report`.
    """

    def __init__(
        self,
        accelerator: Any,
        max_consecutive: int = 3,
        rows_of: Callable[[Any], Sequence[Any]] = lambda batch: [],
        text_of: Callable[[Any], Sequence[dict[str, Any]]] = lambda batch: [],
        folder: str | None = None,
    ) -> None:
        self.accelerator, self.max_consecutive = accelerator, max_consecutive
        self.folder = None if folder is None else Path(folder)
        self.report = Report(rows_of, text_of, self.folder)
        self.counts = StepCounts()
        self.undecided, self.skipping = True, False
        self.seen: list[MicroBatch] = []
        self._restored = False

    @property
    def skipped(self) -> int:
        """Steps that were not taken."""
        return self.counts.skipped

    @property
    def at_start(self) -> bool:
        """Whether no micro-batch of the step was seen yet."""
        return not self.seen

    def begin(self) -> None:
        """Another micro-batch follows."""
        self.seen.append(MicroBatch())
        self.undecided = True

    def watch(self, batch: Any, sound: Tensor) -> None:
        """Remember the batch of one pass; ``sound`` ``(N,)`` bool says on the device of which rows all is finite.

        A loss that is computed outside of a step is nobody's business.
        """
        if self.seen and self.seen[-1].loss is None:
            self.seen[-1].parts.append((batch, sound.detach()))

    def observe(self, loss: Tensor, batch: Any) -> None:
        """Remember the micro-batch's loss, and itself where no pass of it was watched."""
        self.seen[-1].loss = loss.detach()
        if not self.seen[-1].parts:
            self.seen[-1].parts.append((batch, None))

    def decide(self, model: nn.Module, step: int, optimiser: Any = None) -> Tensor:
        """Decide on all ranks whether step number ``step`` is taken; return the norm of this process's gradients.

        Raises:
            NonFiniteError: too many in a row were not.
        """
        self.undecided = False
        scaled = getattr(self.accelerator, "scaler", None) is not None
        kept_away = self.accelerator.distributed_type == DistributedType.DEEPSPEED
        norm = torch.zeros(()) if scaled or kept_away else guard_gradients.local_norm(model)
        micro, self.seen = self.seen, []
        self.skipping = self._any_rank(self._bad(micro, norm))
        if not self.skipping:
            if not scaled:
                self.counts.consecutive = 0
            return norm
        rows, page = self.report(self.accelerator, step, micro, model, norm)
        if scaled:
            # Now, as afterwards there is nothing left that it could look at.
            self.accelerator.unscale_gradients()
        guard_gradients.drop(model, getattr(optimiser, "param_groups", ()))
        self._count(step, rows, page, model)
        return norm

    def refuse(self, loss: Tensor, model: nn.Module, step: int) -> None:
        """Raise ``NonFiniteError``, on all ranks, before a loss is backwarded that is not finite, or has such rows."""
        now = MicroBatch(loss.detach(), self.seen[-1].parts if self.seen else [])
        if self._any_rank(self._bad([now], torch.zeros(()))):
            self.seen = [*self.seen[:-1], now]
            rows, page = self.report(self.accelerator, step, self.seen, model, torch.zeros(()))
            raise self.stopped(step, rows, page, model)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint holds."""
        return {"args": {}, "attributes": {"counted": self.counts.as_json()}}

    @property
    def counted(self) -> list[int]:
        """The counts, as a checkpoint keeps them."""
        return self.counts.as_json()

    @counted.setter
    def counted(self, kept: list[int]) -> None:
        self.counts.restore(kept)
        self._restored = True

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Forget an earlier run, unless this one goes on from its checkpoint."""
        self.seen = []
        self.counts.begin(state.global_step, self._restored and state.global_step > 0)
        self._restored = False

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Decide, where nobody asked before."""
        if self.undecided:
            self.decide(kwargs["model"], state.global_step + 1, kwargs.get("optimizer"))

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count a step that a gradient scaler skipped although its scale is below 1."""
        scaler = getattr(self.accelerator, "scaler", None)
        if scaler is None or self.skipping:
            return
        if not self.accelerator.optimizer_step_was_skipped:
            self.counts.consecutive = 0
        elif scaler.get_scale() < 1:
            logger.warning("step %d skipped: its gradients are not finite, at any scale", state.global_step + 1)
            self._count(state.global_step + 1, [], "", kwargs["model"])

    def stopped(self, step: int, rows: Sequence[Any], page: str, model: nn.Module) -> NonFiniteError:
        """Return what to raise."""
        last = None if self.folder is None else newest_whole_checkpoint(self.folder)
        return NonFiniteError(last_words(step, self.counts.consecutive, rows, page, model, last))

    def _count(self, step: int, rows: Sequence[Any], page: str, model: nn.Module) -> None:
        self.counts.skip()
        if self.counts.consecutive >= self.max_consecutive:
            raise self.stopped(step, rows, page, model)

    def _bad(self, seen: Sequence[MicroBatch], norm: Tensor) -> Tensor:
        """Return whether anything of this rank's is not finite, on its device."""
        device = self.accelerator.device
        sound = [torch.isfinite(norm).to(device)]
        for micro in seen:
            sound += [] if micro.loss is None else [torch.isfinite(micro.loss).all().to(device)]
            sound += [rows.all().to(device) for _, rows in micro.parts if rows is not None]
        return ~torch.stack(sound).all()

    def _any_rank(self, bad: Tensor) -> bool:
        if self.accelerator.num_processes == 1:
            return bool(bad)
        return bool(self.accelerator.reduce(bad.float(), reduction="sum") > 0)
