"""Stages of a run: a heading, a progress bar and a stopwatch; what libraries print goes to a file."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from transformers import TrainerCallback


@dataclass
class Bar:
    """The progress bar of a stage."""

    progress: Progress
    task: TaskID

    def start(self, total: int, what: str = "") -> None:
        """Begin to count to ``total``."""
        self.progress.update(self.task, total=total, completed=0, what=what)

    def advance(self, count: int = 1, note: str | None = None) -> None:
        """Count on."""
        self.progress.update(self.task, advance=count)
        if note is not None:
            self.note(note)

    def note(self, text: str) -> None:
        """Show a few words beside the bar."""
        self.progress.update(self.task, note=text)

    def finish(self, note: str) -> None:
        """Fill the bar."""
        total = self.progress.tasks[0].total or 1
        self.progress.update(self.task, total=total, completed=total, note=note)


class TrainingBar(TrainerCallback):
    """Moves a bar with a trainer's steps, and shows some of its logged figures by their names there."""

    def __init__(self, bar: Bar, shown: dict[str, str]) -> None:
        self.bar, self.shown = bar, shown

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The number of steps is known."""
        self.bar.start(state.max_steps)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """One optimiser step is done."""
        self.bar.advance()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Show the latest figures."""
        found = {label: logs[key] for key, label in self.shown.items() if key in (logs or {})}
        if found:
            self.bar.note(", ".join(f"{label} {float(value):.2f}" for label, value in found.items()))


@dataclass
class Stages:
    """Runs stages one after the other and remembers the seconds of each.

    Attributes:
        log: the file that takes what trainers and libraries print.
        count: number of stages, for the headings.
    """

    console: Console
    log: Path
    count: int
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, name: str) -> Iterator[Bar]:
        """Measure and show one stage."""
        begin = time.perf_counter()
        heading = f"[{len(self.seconds) + 1}/{self.count}] {name}"
        columns = (
            TextColumn("{task.description:<33}", markup=False),
            BarColumn(bar_width=10),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        with (
            Progress(*columns, console=self.console, redirect_stdout=False, redirect_stderr=False) as progress,
            self.log.open("a", encoding="utf-8") as file,
            redirect_stdout(file),
            redirect_stderr(file),
            warnings.catch_warnings(),
        ):
            file.write(f"--- {name}\n")
            warnings.simplefilter("ignore")
            try:
                yield Bar(progress, progress.add_task(heading, total=None, note=""))
            except BaseException:
                progress.console.print(f"Stopped in '{name}'; {self.log} has what the libraries said.", soft_wrap=True)
                raise
        self.seconds[name] = time.perf_counter() - begin
