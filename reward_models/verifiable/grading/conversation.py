"""A program in a sandbox, spoken with line by line under deadlines; and what all programs of a job used together."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Protocol

from reward_models.failures import InfrastructureError
from reward_models.verifiable.grading.cases import Status
from reward_models.verifiable.grading.inside.codec import LARGEST
from reward_models.verifiable.grading.program import program
from reward_models.verifiable.sandbox.limits import Limits
from reward_models.verifiable.sandbox.process import Process, advance

# No line that the codec writes is longer, whatever the value.
LONGEST_LINE = 2 * LARGEST + 10_000
LOOK_AGAIN_SECONDS = 0.25
START_SECONDS = 30.0
PRINTED_KEPT = 2000


class Confines(Protocol):
    """A sandbox."""

    tier: str

    def start(self, program: str, limits: Limits) -> Process:
        """Start a program."""


class CancelledError(RuntimeError):
    """The caller gave up; whatever runs is killed."""


class LateError(Exception):
    """Nothing came before the deadline."""


class EndedError(Exception):
    """The program ended, or was ended since it wrote too much, before it had answered."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status: Status = status


@dataclass
class Used:
    """What the processes of a job used."""

    wall_ms: float = 0.0
    cpu_ms: float = 0.0
    peak_kb: int = 0
    stdout: str = ""


@dataclass
class Ground:
    """What every process of a job needs: sandbox, limits, account, and whether the caller still wants it.

    ``until`` is when the whole job must have ended, on the clock of ``time.monotonic``.
    """

    sandbox: Confines
    limits: Limits
    until: float
    cancelled: threading.Event = field(default_factory=threading.Event)
    used: Used = field(default_factory=Used)

    @property
    def over(self) -> bool:
        """Whether the whole job's time is over."""
        return time.monotonic() >= self.until

    def deadline(self, seconds: float) -> float:
        """So many seconds from now, or the end of the job if that comes first."""
        return min(time.monotonic() + seconds, self.until)


class Conversation:
    """One process running a program of ``inside``; at the end of ``with`` it is killed and its account taken."""

    def __init__(self, ground: Ground, name: str, counts_stdout: bool = True) -> None:
        self.ground, self.counts_stdout = ground, counts_stdout
        self.process = ground.sandbox.start(program(name), ground.limits)
        self.unread = bytearray()

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        usage, used = self.process.wait(), self.ground.used
        used.wall_ms += usage.wall_ms
        used.cpu_ms += usage.cpu_ms
        used.peak_kb = max(used.peak_kb, usage.peak_kb)
        if self.counts_stdout and not used.stdout:
            used.stdout = usage.stdout[:PRINTED_KEPT].decode("utf-8", "replace")

    def send(self, message: str) -> None:
        """Send one message."""
        self.process.write(b"%d\n" % len(message) + message.encode("ascii"))

    def await_ready(self) -> None:
        """Wait for the first line, which our program writes before any other code than ours has run.

        Raises:
            InfrastructureError: it didn't come.
        """
        try:
            line = self.receive(time.monotonic() + START_SECONDS)
        except LateError:
            raise InfrastructureError(f"no program started within {START_SECONDS:g} s") from None
        except EndedError as error:
            raise InfrastructureError(f"a program ended before it had started: {error}") from None
        if line != '["ready"]':
            raise InfrastructureError(f"a program began with {line[:100]!r}")

    def receive(self, deadline: float) -> str:
        """Return the next line of the answer channel.

        Raises:
            LateError: it did not come by then. EndedError: it will not come. InfrastructureError, CancelledError.
        """
        searched = 0
        while (end := self.unread.find(b"\n", searched)) < 0:
            searched = len(self.unread)
            if searched > LONGEST_LINE:
                raise EndedError("output_limit", "an answer without end")
            if self.ground.cancelled.is_set():
                raise CancelledError
            late = time.monotonic() >= deadline
            if self.process.finished:
                self._raise_end()
            advance([self.process], 0.0 if late else min(deadline - time.monotonic(), LOOK_AGAIN_SECONDS))
            arrived = self.process.take_answers()
            self.unread += arrived
            if late and not arrived and not self.process.finished:
                raise LateError
        line = self.unread[:end].decode("ascii", "replace")
        del self.unread[: end + 1]
        return line

    def unread_lines(self) -> bool:
        """Whether anything has come that nobody asked for."""
        self.unread += self.process.take_answers()
        return bool(self.unread)

    def end(self, deadline: float) -> bytes:
        """Wait until the program ends by itself with exit status 0; return what it printed.

        Raises:
            LateError: it did not by then. EndedError: it ended otherwise. InfrastructureError, CancelledError.
        """
        while not self.process.finished:
            if self.ground.cancelled.is_set():
                raise CancelledError
            if time.monotonic() >= deadline:
                raise LateError
            advance([self.process], min(deadline - time.monotonic(), LOOK_AGAIN_SECONDS))
            self.process.take_answers()
        usage = self.process.usage
        if usage is None or usage.returncode != 0 or usage.infrastructure_error:
            self._raise_end()
        assert usage is not None
        return usage.stdout

    def _raise_end(self) -> None:
        usage = self.process.usage
        assert usage is not None
        if usage.infrastructure_error is not None:
            raise InfrastructureError(usage.infrastructure_error)
        last = usage.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2][:300]
        if usage.timed_out or usage.cpu_exceeded:
            raise EndedError("timeout", "it ran longer than the job may")
        if usage.output_exceeded or usage.answers_exceeded:
            raise EndedError("output_limit", "it wrote more than it may")
        if last.startswith("MemoryError"):
            raise EndedError("memory", last)
        if usage.signal is not None:
            raise EndedError("crashed", f"it was ended by signal {usage.signal}")
        raise EndedError("crashed" if usage.returncode == 0 else "error", last or f"exit status {usage.returncode}")
