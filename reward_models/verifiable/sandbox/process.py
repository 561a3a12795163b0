"""One program in a sandbox, as its parent sees it, and a loop that moves many of them on at once.

Seam for graders::

    sandbox = Sandbox.best()                                # or .named("landlock"), .best(allow_unsafe=True)
    process = sandbox.start(program, Limits(wall_seconds=5))
    process.write(b"...")                                   # its stdin; never blocks, what does not fit is buffered
    process.close_input()
    while not process.finished:
        advance([process, ...], timeout=0.1)                # IO and deadlines of all; returns when anything happened
        data = process.take_answers()                       # what came on the answer channel since the last call
    process.usage                                           # how it ended: Usage
    process.kill()                                          # at any time; ``finished`` follows

``program`` is Python source that we wrote; a model's code reaches it as data on stdin. It runs as ``__main__`` in a
fresh interpreter state without site-packages, and writes its answers to file descriptor 3. Descriptors 0 to 3 are all
that it has open. Its text may be a module of ours that runs only there: such a module lies in a folder ``inside`` (the
house test lets only those call ``exec``), imports the standard library alone and acts under
``if __name__ == "__main__":``.

No signal handlers, no threads; every function may be called in any thread, one thread at a time for one process.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from reward_models.verifiable.sandbox.limits import Limits
from reward_models.verifiable.sandbox.memory import out_of_memory_kills
from reward_models.verifiable.sandbox.usage import Usage

CHUNK = 1 << 16
# A launcher kills at the deadline; when it says nothing for so much longer, it is the launcher that has failed.
GRACE_SECONDS = 5.0


class Process:
    """A program in a sandbox. ``tier`` is that of its sandbox."""

    def __init__(self, ends: Ends, limits: Limits, tier: str, release: Callable[[bool], None]) -> None:
        self.limits, self.tier = limits, tier
        self.usage: Usage | None = None
        self._ends = ends
        self._release = release
        self._unsent = bytearray()
        self._input_closing = False
        self._answers = bytearray()
        self._answered = 0
        self._outputs = {ends.stdout: bytearray(), ends.stderr: bytearray()}
        self._exceeded: set[str] = set()
        self._killed = False
        self._report = bytearray()
        self._started, self._kills_before = time.monotonic(), out_of_memory_kills()
        for descriptor in (ends.stdin, ends.stdout, ends.stderr, ends.answers):
            os.set_blocking(descriptor, False)
        ends.leash.setblocking(False)
        self._open = {ends.stdin, ends.stdout, ends.stderr, ends.answers, ends.leash.fileno()}

    @property
    def finished(self) -> bool:
        """Whether it has ended and all that it wrote has been read."""
        return self.usage is not None

    @property
    def deadline(self) -> float:
        """On the clock of ``time.monotonic``: when even its sandbox is given up."""
        return self._started + self.limits.wall_seconds + GRACE_SECONDS

    def write(self, data: bytes) -> None:
        """Send bytes to its stdin, now or as soon as it reads. They are dropped if it has closed stdin or ended."""
        if self._input_closing:
            raise ValueError("the input is closed")
        self._unsent += data
        self._send()

    def close_input(self) -> None:
        """Let it see the end of its stdin, after all that was written."""
        self._input_closing = True
        self._send()

    def take_answers(self) -> bytes:
        """Return what came on the answer channel since the last call."""
        data = bytes(self._answers)
        self._answers.clear()
        return data

    def kill(self) -> None:
        """End it now. ``finished`` becomes true by a later ``advance``."""
        if not self.finished and not self._killed:
            self._killed = True
            self._order_kill()

    def wait(self) -> Usage:
        """Advance it until it has finished, its answers kept."""
        while self.usage is None:
            advance([self])
        return self.usage

    def events(self) -> dict[int, int]:
        """What to wait for: descriptor -> mask of ``selectors``. ``advance`` does it."""
        wanted = {descriptor: selectors.EVENT_READ for descriptor in self._open if descriptor != self._ends.stdin}
        if self._unsent and self._ends.stdin in self._open:
            wanted[self._ends.stdin] = selectors.EVENT_WRITE
        return wanted

    def handle(self, descriptor: int) -> None:
        """Do what is possible on one descriptor, without blocking."""
        if descriptor not in self._open:
            return
        if descriptor == self._ends.stdin:
            self._send()
        elif descriptor == self._ends.leash.fileno():
            self._hear()
        else:
            self._read(descriptor)

    def check_deadline(self) -> None:
        """Give its sandbox up if that has missed the deadline too."""
        if not self.finished and time.monotonic() > self.deadline:
            self._end({"refused": "the sandbox did not end the program at its deadline"})

    def _send(self) -> None:
        if self._ends.stdin not in self._open:
            self._unsent.clear()
            return
        try:
            while self._unsent:
                del self._unsent[: os.write(self._ends.stdin, self._unsent[:CHUNK])]
        except BlockingIOError:
            return
        except OSError:
            self._unsent.clear()
            self._close(self._ends.stdin)
        if self._input_closing:
            self._close(self._ends.stdin)

    def _read(self, descriptor: int) -> bool:
        try:
            data = os.read(descriptor, CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._close(descriptor)
            return False
        if descriptor == self._ends.answers:
            self._answered += len(data)
            room = self.limits.answer_bytes - (self._answered - len(data))
            self._answers += data[: max(room, 0)]
            if len(data) > room:
                self._exceed("answers")
        else:
            kept = self._outputs[descriptor]
            room = self.limits.output_bytes - len(kept)
            kept += data[:room]
            if len(data) > room:
                self._exceed("output")
        return len(self._exceeded) == 0

    def _exceed(self, what: str) -> None:
        if what not in self._exceeded:
            self._exceeded.add(what)
            self._order_kill()

    def _order_kill(self) -> None:
        with suppress(OSError):
            self._ends.leash.send(b"k")

    def _hear(self) -> None:
        try:
            data = self._ends.leash.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._report += data
        if not data:
            self._drain()
            self._end(self._told())

    def _told(self) -> dict[str, Any]:
        told: dict[str, Any] = {}
        try:
            for line in self._report.splitlines():
                told |= json.loads(line)
        except ValueError:
            told = {}
        return told if "status" in told or "refused" in told else {"refused": "the sandbox's launcher ended"}

    def _drain(self) -> None:
        # It is dead, so all that it wrote lies in the pipes. Their ends may have been inherited by others: no waiting
        # for their end.
        for descriptor in (self._ends.stdout, self._ends.stderr, self._ends.answers):
            while descriptor in self._open and self._read(descriptor):
                pass

    def _end(self, told: dict[str, Any]) -> None:
        for descriptor in list(self._open):
            self._close(descriptor)
        returncode = os.waitstatus_to_exitcode(told["status"]) if "status" in told else None
        ours = self._killed or self._exceeded or told.get("timed_out", False)
        if returncode == -signal.SIGKILL and not ours and out_of_memory_kills() > self._kills_before:
            told = {**told, "refused": "the machine ran out of memory, and its killer chose this program"}
        cpu_ms = told.get("cpu_ms", 0.0)
        self.usage = Usage(
            returncode=None if "refused" in told else returncode,
            signal=-returncode if returncode is not None and returncode < 0 else None,
            wall_ms=told.get("wall_ms", 1e3 * (time.monotonic() - self._started)),
            cpu_ms=cpu_ms,
            peak_kb=told.get("peak_kb", 0),
            timed_out=told.get("timed_out", False),
            killed=self._killed,
            output_exceeded="output" in self._exceeded,
            answers_exceeded="answers" in self._exceeded,
            cpu_exceeded=returncode == -signal.SIGXCPU or cpu_ms >= 1e3 * self.limits.cpu_seconds,
            stdout=bytes(self._outputs[self._ends.stdout]),
            stderr=bytes(self._outputs[self._ends.stderr]),
            infrastructure_error=told.get("refused"),
        )
        self._release("refused" not in told)

    def _close(self, descriptor: int) -> None:
        if descriptor in self._open:
            self._open.discard(descriptor)
            if descriptor == self._ends.leash.fileno():
                self._ends.leash.close()
            else:
                os.close(descriptor)

    def __del__(self) -> None:
        if self.usage is None:
            # Closing the leash kills the program.
            for descriptor in list(self._open):
                with suppress(OSError):
                    self._close(descriptor)
            self._release(False)


@dataclass(frozen=True)
class Ends:
    """The parent's ends of a program's channels. ``leash`` brings its end; closing it kills the program."""

    stdin: int
    stdout: int
    stderr: int
    answers: int
    leash: socket.socket


class Advances(Protocol):
    """What ``advance`` needs of a process."""

    @property
    def finished(self) -> bool:
        """Whether it has ended."""

    @property
    def deadline(self) -> float:
        """When ``check_deadline`` has something to do."""

    def events(self) -> dict[int, int]:
        """What to wait for."""

    def handle(self, descriptor: int) -> None:
        """Do what is possible on a descriptor."""

    def check_deadline(self) -> None:
        """Look at the clock."""


def advance(processes: Iterable[Advances], timeout: float | None = None) -> None:
    """Wait until something happens to a process, at most ``timeout`` seconds, and do it.

    Returns at once where a process has finished before.
    """
    running = [process for process in processes if not process.finished]
    if not running:
        return
    with selectors.DefaultSelector() as selector:
        for process in running:
            for descriptor, mask in process.events().items():
                selector.register(descriptor, mask, process)
        left = max(0.0, min(process.deadline for process in running) - time.monotonic()) + 0.01
        for key, _ in selector.select(left if timeout is None else min(timeout, left)):
            key.data.handle(key.fd)
    for process in running:
        process.check_deadline()
