"""Scoring a file in several processes of this machine, one a device, watched by this one."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from time import monotonic
from typing import Any

from reward_models.errors import ModelError
from reward_models.scoring.join import join_parts
from reward_models.scoring.report import Progress, ScoringReport, silent
from reward_models.scoring.settings import ScoringSettings
from reward_models.scoring.worker import device_of, work

__all__ = ["Patience", "device_of", "score_in_processes"]

logger = logging.getLogger(__name__)

LOOK_EVERY = 0.5


@dataclass(frozen=True)
class Patience:
    """What is done about a process that dies or hangs.

    Attributes:
        stall: seconds without a sign of life (a batch, or a thousand rows looked through) after which a process counts
            as hung and is ended; 0 = never. The time to load the model counts.
        restarts: how often each part's process is begun again after it died. It goes on where it was.
    """

    stall: float = 1800.0
    restarts: int = 1


@dataclass
class _Worker:
    """A part's process, and what it told."""

    number: int
    begin: Callable[[], tuple[Any, Connection]]
    restarts: int
    rows: int = 0
    report: ScoringReport | None = None
    heard: float = field(default_factory=monotonic)

    def __post_init__(self) -> None:
        self.process, self.messages = self.begin()

    def listen(self) -> None:
        """Take in what was told; nothing more to come means that the process has ended.

        Raises:
            DataError: as the part's scoring does.
            ModelError: as it does, or the process died too often.
        """
        try:
            while self.report is None and self.messages.poll():
                kind, content = self.messages.recv()
                self.heard = monotonic()
                if kind == "rows":
                    self.rows = content
                elif kind == "done":
                    self.report = content
                elif kind == "failed":
                    raise content
        except (EOFError, OSError):
            self._ended("was killed, perhaps because memory ran out")

    def look(self, stall: float) -> None:
        """End the process if it hangs."""
        if stall and self.report is None and monotonic() - self.heard > stall:
            self.end()
            self._ended(f"has scored nothing for {stall:g} s and was ended")

    def end(self) -> None:
        """End the process, at once; all but its last second's scores are on the disk."""
        self.process.kill()
        self.process.join()

    def _ended(self, what: str) -> None:
        self.process.join()
        self.messages.close()
        what = f"the process of part {self.number} {what} (exit code {self.process.exitcode})"
        if not self.restarts:
            raise ModelError(f"{what}; what it scored is kept: run the same command again to go on")
        logger.warning("%s; it is begun again and goes on where it was", what)
        self.restarts -= 1
        self.heard = monotonic()
        self.process, self.messages = self.begin()


def score_in_processes(
    model: str | Path,
    source: str | Path,
    output: str | Path,
    processes: int,
    settings: ScoringSettings | None = None,
    device: str | None = None,
    progress: Progress = silent,
    patience: Patience = Patience(),
) -> ScoringReport:
    """Score a file as `scoring.score_file` does, each process a part, on its own GPU where there are any.

    The output is the same, byte for byte, as that of one process with as many threads as each of these has: the cores
    are shared out between them. Any process may be killed; the same call goes on from there.

    Raises:
        DataError: as `score_file` does.
        ModelError: as it does; or a process died or hung more often than ``patience`` allows.
    """
    context = get_context("spawn")
    threads = max(1, (os.cpu_count() or 1) // processes)

    def begin(number: int) -> tuple[Any, Connection]:
        # A pipe for each: a process that is killed cannot hold a lock that others wait for.
        ours, theirs = context.Pipe(duplex=False)
        arguments = (theirs, threads, str(model), str(source), str(output), settings, device, processes, number)
        process = context.Process(target=work, args=arguments, name=f"scoring-{number}", daemon=True)
        process.start()
        theirs.close()
        return process, ours

    workers: list[_Worker] = []
    try:
        workers += [_Worker(number, partial(begin, number), patience.restarts) for number in range(1, processes + 1)]
        while busy := [worker for worker in workers if worker.report is None]:
            ready = wait([worker.messages for worker in busy], timeout=LOOK_EVERY)
            for worker in busy:
                if worker.messages in ready:
                    worker.listen()
                worker.look(patience.stall)
            progress(sum(worker.rows for worker in workers))
    finally:
        for worker in workers:
            worker.end()
    return join_parts(source, output, processes, [worker.report for worker in workers if worker.report is not None])
