"""Processes that compare mathematical answers, each answer with a deadline that holds."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

from reward_models.failures import InfrastructureError
from reward_models.verifiable.final_answer import FinalAnswer
from reward_models.verifiable.sandbox.memory import out_of_memory_kills

PROGRAM = Path(__file__).with_name("math_program.py")
START_SECONDS = 120.0
ENDED = "the process ended"


class Comparison(NamedTuple):
    """How far it came (gold, answer, done), the verdict where it is done, and a reason where there is none."""

    stage: str
    equal: bool | None
    reason: str


class Late(Exception):
    """The deadline has passed."""


class Gone(Exception):
    """The process has ended."""


class Checker:
    """One process. Not for two threads at a time; `take` and `give_back` see to that."""

    def __init__(self) -> None:
        try:
            # -P: the script's folder holds modules of ours that must not stand for others of the same name.
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(PROGRAM)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise InfrastructureError(f"no process to compare answers in: {error}") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout
        self._buffer = b""
        try:
            self._line(time.monotonic() + START_SECONDS)
        except (Late, Gone):
            self.end()
            message = "the process that compares answers did not start; try `python -c 'import math_verify'`"
            raise InfrastructureError(message) from None

    def compare(self, gold: FinalAnswer, answer: FinalAnswer, seconds: float) -> Comparison:
        """Compare; a process that is late or gone is ended, and cannot be asked again.

        Raises:
            InfrastructureError: the machine, and not the answer, ended it.
        """
        request = {"gold": [gold.text, gold.exact], "answer": [answer.text, answer.exact], "seconds": seconds}
        deadline, stage, kills = time.monotonic() + seconds, "gold", out_of_memory_kills()
        try:
            self._requests.write(json.dumps(request).encode() + b"\n")
            self._requests.flush()
            if not self._line(deadline)["gold"]:
                return Comparison(stage, None, "the reference cannot be read")
            stage = "answer"
            verdict = self._line(deadline)
            return Comparison("done", verdict["equal"], verdict["reason"])
        except Late:
            self.end()
            return Comparison(stage, None, f"no verdict within {seconds:g} s")
        except (Gone, OSError):
            self.end()
            if self._process.returncode == -signal.SIGKILL and out_of_memory_kills() > kills:
                message = "the machine ran out of memory, and its killer chose the process that compares answers"
                raise InfrastructureError(message) from None
            return Comparison(stage, None, ENDED)

    @property
    def lives(self) -> bool:
        """Whether it can be asked again."""
        return self._process.returncode is None

    def end(self) -> None:
        """Kill the process and wait for it."""
        self._process.kill()
        self.close()
        self._process.wait()

    def close(self) -> None:
        """Close our ends of its pipes."""
        for stream in (self._requests, self._answers):
            with contextlib.suppress(OSError):
                stream.close()

    def _line(self, deadline: float) -> dict[str, Any]:
        with selectors.DefaultSelector() as selector:
            selector.register(self._answers, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise Late
                read = os.read(self._answers.fileno(), 65536)
                if not read:
                    raise Gone
                self._buffer += read
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer


_LOCK = threading.Lock()
_IDLE: list[Checker] = []
_ALL: set[Checker] = set()


def take() -> Checker:
    """Return an idle process, or a new one."""
    with _LOCK:
        if _IDLE:
            return _IDLE.pop()
    checker = Checker()
    with _LOCK:
        _ALL.add(checker)
    return checker


def give_back(checker: Checker) -> None:
    """Keep a process for the next who asks."""
    with _LOCK:
        (_IDLE.append if checker.lives else _ALL.discard)(checker)


def end_all() -> None:
    """End all processes; the next question starts new ones."""
    with _LOCK:
        for checker in _ALL:
            checker.end()
        _ALL.clear()
        _IDLE.clear()


def _forget() -> None:
    """In a forked child: the parent's processes are not ours, and must see their input end when the parent goes."""
    global _LOCK
    _LOCK = threading.Lock()
    for checker in _ALL:
        checker.close()
    _ALL.clear()
    _IDLE.clear()


atexit.register(end_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
