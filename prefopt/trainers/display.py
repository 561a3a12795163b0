"""A log line for people: what a reader watches a run for, in one line. The rest is in ``history.jsonl``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import PrinterCallback, ProgressCallback, Trainer

SHOWN = ("loss", "eval_loss", "completion_length", "entropy", "groups_without_signal", "unscored", "skipped_steps")


def brief(step: int, logs: Mapping[str, Any]) -> str:
    """Return ``step 20  reward/exact_answer 0.42  ...  entropy 0.57``; figures that are 0 counts are left out."""
    names = [name for name in logs if name.removeprefix("eval_").startswith("reward/")]
    names += [name for name in SHOWN if name in logs and not (name == "unscored" and not logs[name])]
    figures = [f"{name} {logs[name]:.4g}" for name in names if isinstance(logs[name], (int, float))]
    return "  ".join([f"step {step}", *figures])


class BriefBar(ProgressCallback):
    """A progress bar with brief lines above it."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Write the line above the bar."""
        if state.is_world_process_zero and self.training_bar is not None and _is_line(logs):
            self.training_bar.write(brief(state.global_step, logs))


class BriefPrinter(PrinterCallback):
    """Brief lines alone."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Print the line."""
        if state.is_world_process_zero and _is_line(logs):
            print(brief(state.global_step, logs))


def show_brief_lines(trainer: Trainer) -> None:
    """Put brief lines in place of transformers' full ones, where those are on."""
    for full, short in ((ProgressCallback, BriefBar), (PrinterCallback, BriefPrinter)):
        if trainer.pop_callback(full) is not None:
            trainer.add_callback(short())


def _is_line(logs: Any) -> bool:
    return bool(logs) and ("loss" in logs or "eval_loss" in logs)
