"""A run that is told to stop finishes its step, writes a checkpoint, and says how to go on.

    with StopSignals() as stop:
        trainer = OnlineTrainer(..., callbacks=[stop])
        trainer.train()  # on SIGTERM: a checkpoint of the step in hand, then SystemExit with status 143

`align_online`, `align_offline`, `train_reward` and `play_game` heed it without being given the callback. The training
commands of ``prefopt`` are inside one that hears Ctrl-C as well.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import gather
from transformers import Trainer, TrainerCallback
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

SAME = 1.0
"""Seconds within which signals count as one: a launcher passes on the Ctrl-C that its processes were sent as well."""
NOT_WRITTEN = ", of which no checkpoint could be written: see above"
RESUME = "the same call with resume_from=True"
_heard: list[StopSignals] = []


class TrainingStopped(SystemExit):
    """A signal ended the run. ``code`` is the status that a shell expects, 128 + the signal's number."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)


class StopSignals(TrainerCallback):
    """Hears signals inside its ``with``; as a callback it lets a trainer stop after the step in hand.

    What is due at that step, an evaluation too, is done before the checkpoint is written, so that the resumed run is at
    the bits of one that was never stopped. All processes stop together when one was told to. Outside of training, where
    there is no step to finish, the first signal ends the run at once. A second one does so anywhere, by what was in
    force before; the last checkpoint is whole then.

    Handlers need the main thread: in another one nothing is heard. In a process that was forked off, a signal does what
    it did before. One that the process ignores, as under nohup, is not heard.

    Args:
        numbers: signals to hear. Without SIGINT, Ctrl-C and a notebook's interrupt stay ``KeyboardInterrupt``.
        resume: what to do to go on, for the last sentence.
    """

    def __init__(self, *numbers: int, resume: str = RESUME) -> None:
        self.numbers = numbers or (signal.SIGTERM,)
        self.resume = resume
        self._before: dict[int, Any] = {}
        self._process = 0
        self._told, self._told_at = 0, 0.0
        self._training, self._ending, self._agreed, self._saved = False, False, 0, -1

    def __enter__(self) -> StopSignals:
        self._process, self._told, self._agreed, self._training = os.getpid(), 0, 0, False
        if threading.current_thread() is threading.main_thread():
            # One that is ignored, as under nohup, stays so.
            heard = [number for number in self.numbers if signal.getsignal(number) != signal.SIG_IGN]
            self._before = {number: signal.signal(number, self._hear) for number in heard}
        _heard.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        _heard.remove(self)
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            # None: the handler that was there is not Python's.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}

    def _hear(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if os.getpid() != self._process or (self._told and time.monotonic() - self._told_at > SAME):
            self._restore()
            signal.raise_signal(number)
        elif not self._told:
            self._told, self._told_at = number, time.monotonic()
            if self._training:
                _say(f"{name}: finishing the step in hand and writing a checkpoint; a second signal stops at once.")
            elif number == signal.SIGINT:
                raise KeyboardInterrupt
            else:
                _say(
                    f"Stopped by {name} outside of training; what was written is whole. To go on from the last "
                    f"checkpoint, where there is one: {self.resume}."
                )
                raise TrainingStopped(number)

    def _all_agree(self) -> bool:
        if not self._agreed:
            processes = PartialState()
            told = torch.tensor([self._told], device=processes.device)
            self._agreed = int(gather(told).max()) if processes.num_processes > 1 else self._told
        return bool(self._agreed)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """From now on there is a step to finish."""
        self._training, self._ending, self._saved = True, False, -1

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Decide whether this step is the last; then do here what the end of its epoch has due, if it is one."""
        if not self._all_agree():
            return
        self._ending = control.should_training_stop = True
        # The trainer comes to the end of the epoch from here, and the checkpoint is written there.
        control.should_save = False
        if state.epoch == int(state.epoch):
            control.should_log |= args.logging_strategy == IntervalStrategy.EPOCH
            control.should_evaluate |= args.eval_strategy == IntervalStrategy.EPOCH and args.eval_delay <= state.epoch

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop after an evaluation during which the signal came."""
        # Where the best is saved after an epoch's evaluation, there is no later moment to save another: go on a step.
        late = args.save_strategy == SaveStrategy.BEST and args.eval_strategy == IntervalStrategy.EPOCH
        if self._training and not self._ending and not late and state.global_step and self._all_agree():
            control.should_save = control.should_training_stop = True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop after a checkpoint during whose writing the signal came."""
        self._saved = state.global_step
        if self._training and self._all_agree():
            control.should_training_stop = True

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write the checkpoint, unless there is one; the trainer comes here in the middle of an epoch, too."""
        if not self._agreed:
            return
        if self._ending or state.epoch != int(state.epoch):
            control.should_log = control.should_evaluate = False
        control.should_save = control.should_evaluate or self._saved != state.global_step

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Say where the run stopped, and leave."""
        self._training = False
        if self._agreed:
            if state.is_world_process_zero:
                checkpoint = f"{args.output_dir}/checkpoint-{state.global_step}"
                # Where on_failed_save lets a run go on, there may be none.
                whole = f"; {checkpoint} holds it all" if Path(checkpoint).is_dir() else NOT_WRITTEN
                _say(
                    f"Stopped by {signal.Signals(self._agreed).name} after step {state.global_step} of "
                    f"{state.max_steps}{whole}. To go on: {self.resume}."
                )
            raise TrainingStopped(self._agreed)


def heed_stop_signals(trainer: Trainer) -> None:
    """Let a trainer stop for the signals that are being heard, if any."""
    if _heard and _heard[-1] not in trainer.callback_handler.callbacks:
        trainer.add_callback(_heard[-1])


def _say(sentence: str) -> None:
    # Not print: the signal may have come inside one.
    if os.environ.get("LOCAL_RANK", "0") == "0":
        os.write(2, f"\n{sentence}\n".encode())


__all__ = ["StopSignals", "TrainingStopped", "heed_stop_signals"]
