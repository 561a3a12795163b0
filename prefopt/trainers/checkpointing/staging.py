"""The part of a trainer that makes its checkpoints whole: written beside, verified, and only then named."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any
from uuid import uuid4

from torch import Tensor, nn
from transformers.trainer_utils import SaveStrategy

from prefopt.errors import UserError
from prefopt.trainers.checkpointing import manifest
from prefopt.trainers.checkpointing.choice import checkpoint_to_resume, verdict_of, warn_of_earlier_run, went_back
from prefopt.trainers.checkpointing.data_fingerprint import fingerprint
from prefopt.trainers.checkpointing.failure import OF_THE_DISK, on_all, save_error
from prefopt.trainers.checkpointing.final_model import WholeModelMixin
from prefopt.trainers.checkpointing.leftovers import remove_unfinished, staging_of
from prefopt.trainers.checkpointing.placing import place, remove_older
from prefopt.trainers.checkpointing.promise import promise_at_resume, promise_of
from prefopt.trainers.checkpointing.together import gathered, leads_machine
from prefopt.trainers.checkpointing.verification import STATE
from prefopt.trainers.checkpointing.versions import versions
from reward_models.redaction import redacted
from reward_models.whole_files import sync_folders

logger = logging.getLogger(__name__)
TELLS_BEST = (SaveStrategy.STEPS, SaveStrategy.EPOCH, SaveStrategy.BEST)


class WholeCheckpointsMixin(WholeModelMixin):
    """Put first among the bases of a `transformers.Trainer` subclass.

    Whatever the class, its bases and its own subclasses write in their ``_save_checkpoint`` lands in a folder that
    nothing takes for a checkpoint. Once all processes have written, files are flushed, ``manifest.json`` is written
    last, and the folder is named ``checkpoint-N`` in one step. A save that fails leaves all older checkpoints as they
    were.
    """

    train_dataset: Any

    _waits_to_be_pushed = False
    _run = ""
    _data: Mapping[str, Any] | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if own := cls.__dict__.get("_save_checkpoint"):
            cls._save_checkpoint = _whole(own)  # type: ignore[assignment]

    def objective_in_checkpoint(self) -> tuple[Mapping[str, Any], Mapping[str, Tensor]]:
        """Return what is minimised, as JSON holds it, and the objective's state."""
        raise NotImplementedError

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """As transformers does, from a checkpoint that verifies.

        Raises:
            UserError: the checkpoint is damaged, or True is given and there is none; see `checkpoint_to_resume`.
        """
        home = Path(self.args.output_dir)
        found = checkpoint_to_resume(resume_from_checkpoint, self.args.output_dir)
        if self.args.should_save:
            remove_unfinished(home)
        self._run = gathered(uuid4().hex)[0]
        if found is None:
            if self.args.process_index == 0:
                warn_of_earlier_run(home)
        else:
            verdict = verdict_of(Path(found))
            if verdict.run and not went_back(verdict):
                self._run = verdict.run
            said = promise_at_resume(self.args, verdict, self._fingerprint())
            if self.args.process_index == 0:
                print(f"resumed at step {verdict.step} from {found}; {said}")
        return super().train(found, *args, **kwargs)  # type: ignore[misc]

    def _get_output_dir(self, trial: Any) -> str:
        home = super()._get_output_dir(trial)  # type: ignore[misc]
        return str(home if self._staging is None else self._staging)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        _whole(super()._save_checkpoint.__func__)(self, model, trial)  # type: ignore[misc]

    def save_whole(self, write: Callable[[], None], trial: Any) -> None:
        """Let ``write`` write the files of a checkpoint, and give it its name."""
        home, step = Path(self._get_output_dir(trial)), self.state.global_step
        staging, target = staging_of(home, step), home / f"checkpoint-{step}"
        staged, best = staging / target.name, self.state.best_model_checkpoint
        try:
            on_all(lambda: self._begin(home, staged))
            on_all(lambda: self._write(write, trial, staging, target))
            on_all(lambda: self._commit(staged, target))
        except Exception as error:
            self.state.best_model_checkpoint = best
            if self.args.should_save:
                shutil.rmtree(staging, ignore_errors=True)
            if isinstance(error, UserError) or not isinstance(error, OF_THE_DISK):
                raise
            self._say_failed(save_error(target.name, home, error), error)
            return
        if leads_machine() and not self.args.should_save:
            # Of a machine with a disk of its own, where nobody saves: its processes' random numbers.
            shutil.rmtree(staging, ignore_errors=True)
        if self._waits_to_be_pushed:
            self._push_from_checkpoint(str(target))

    def _begin(self, home: Path, staged: Path) -> None:
        self._waits_to_be_pushed = False
        if self.args.should_save:
            remove_unfinished(home)
            staged.mkdir(parents=True)

    def _write(self, write: Callable[[], None], trial: Any, staging: Path, target: Path) -> None:
        state = self.state
        # transformers looks for the best one beside that which it writes, and waits for all processes to do so.
        best, state.best_global_step = state.best_global_step, None
        self._staging = staging
        try:
            write()
        finally:
            self._staging, state.best_global_step = None, best
        if best and self.args.save_strategy in TELLS_BEST:
            found = os.path.join(self._get_output_dir(trial), f"checkpoint-{best}")
            if found == str(target) or os.path.isdir(found):
                state.best_model_checkpoint = found
        if self.args.should_save:
            state.save_to_json(str(staging / target.name / STATE))

    def _commit(self, staged: Path, target: Path) -> None:
        if self.args.should_save:
            manifest.write(staged, self._manifest())
            sync_folders(staged)
            place(staged, target)
            remove_older(target, self.args.save_total_limit, self.state.best_model_checkpoint)

    def _manifest(self) -> manifest.Manifest:
        recipe, state = self.objective_in_checkpoint()
        promise = promise_of(self.args)
        return manifest.Manifest(
            step=self.state.global_step,
            saved=time.time(),
            run=self._run,
            versions=versions(),
            processes=self.args.world_size,
            trainer=type(self).__name__,
            recipe=redacted(recipe),
            objective_state=manifest.hash_of(state),
            data={**self._fingerprint(), "epoch": self.state.epoch, "steps": self.state.global_step},
            level=promise.level,
            reasons=promise.reasons,
        )

    def _fingerprint(self) -> Mapping[str, Any]:
        if self._data is None:
            self._data = fingerprint(self.train_dataset)
        return self._data

    def _say_failed(self, said: UserError, error: Exception) -> None:
        if self.args.on_failed_save == "stop":
            raise said from error
        logger.error("%s. The run goes on, as on_failed_save says", said)

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        if self._staging is not None:
            self._waits_to_be_pushed = True
            return
        super()._push_from_checkpoint(checkpoint_folder)  # type: ignore[misc]


def _whole(save: Callable[[Any, nn.Module, Any], None]) -> Callable[[Any, nn.Module, Any], None]:
    """Return a ``_save_checkpoint`` whose files are staged, where it is not called by another one that stages."""

    @wraps(save)
    def whole(trainer: WholeCheckpointsMixin, model: nn.Module, trial: Any) -> None:
        if trainer._staging is not None:
            save(trainer, model, trial)
        else:
            trainer.save_whole(lambda: save(trainer, model, trial), trial)

    return whole
