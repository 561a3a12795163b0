"""Tier 3: an executor on another machine, asked over HTTP. What it contains is what its provider guarantees.

The protocol is one request a program, as SandboxFusion's ``/run_code``; docs/sandbox.md describes it. There is no
conversation: a program gets all of its input at its start and what it wrote comes back at its end. That grades cases
with data (standard input, function calls); test code needs two programs that talk, which only tiers 1 and 2 run.
"""

from __future__ import annotations

import os
import selectors
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import SplitResult

from reward_models.errors import DataError, ModelError
from reward_models.http_client import UnreachableError, ask, split_address
from reward_models.redaction import redact
from reward_models.verifiable.sandbox.errors import SandboxUnavailable
from reward_models.verifiable.sandbox.limits import Limits
from reward_models.verifiable.sandbox.process import Process, advance
from reward_models.verifiable.sandbox.usage import Usage

KEY_VARIABLE = "PREFOPT_SANDBOX_KEY"
MARK = "--- answers ---\n"
# The answer channel is the executor's stderr, so that neither a kill nor os._exit loses what was written before. What
# the executor itself said on stderr stands before the mark.
AROUND = """import os
os.dup2(2, 3, inheritable=False)
os.write(3, {mark!r})
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
exec(compile({program!r}, "<program>", "exec"))
"""
MARGIN = 2.0
FINISHED, LATE = "Finished", "TimeLimitExceeded"
NOT_A_CONVERSATION = "a remote executor takes all input at once; it grades cases with data, not test code"


@dataclass
class RemoteSandbox:
    """Runs programs by ``POST {url}{path}``.

    Attributes:
        url: of the executor, such as ``http://sandbox.example:8080``.
        path: of the request. language: what the executor calls Python.
        longest_run: seconds that the executor may run a program, where its limits do not say less.
        patience: seconds for one program beyond that, retries included.
        key: sent as bearer token; by default the environment's PREFOPT_SANDBOX_KEY.
        failures: programs that got no verdict since the executor failed.
    """

    url: str = field(repr=False)
    path: str = "/run_code"
    language: str = "python"
    longest_run: float = 15.0
    patience: float = 10.0
    key: str | None = field(default_factory=lambda: os.environ.get(KEY_VARIABLE), repr=False)
    failures: int = 0
    tier: str = field(default="remote", init=False)
    guarantee: str = field(default="that of the executor's provider", init=False)
    _where: SplitResult = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._where = split_address(self.url)

    def check(self) -> None:
        """Run a program that answers a word.

        Raises:
            SandboxUnavailable: it did not answer so.
        """
        process = self.start("import os, sys; os.write(3, sys.stdin.buffer.read())", Limits(wall_seconds=10))
        process.write(b"ready")
        process.close_input()
        usage, answer = process.wait(), process.take_answers()
        if answer != b"ready":
            why = usage.infrastructure_error or f"it answered {answer[:100]!r} (status {usage.returncode})"
            raise SandboxUnavailable(f"remote: no working executor at {redact(self.url)}: {why}")

    def seconds(self, limits: Limits) -> float:
        """How long the executor may run a program."""
        return min(limits.wall_seconds, self.longest_run)

    def start(self, program: str, limits: Limits | None = None) -> Process:
        """Prepare a program; it is sent when its input is closed."""
        # Its interface, not its class: nothing of it runs here.
        return cast(Process, RemoteProcess(self, program, limits or Limits()))

    def close(self) -> None:
        """Nothing is kept open."""

    def run(self, program: str, given: bytes, limits: Limits) -> dict[str, Any]:
        """Send a program and return the executor's answer.

        Raises:
            UnreachableError: it gave none in time. DataError: it refuses the request. ModelError: a foreign answer.
        """
        body = {
            "code": AROUND.format(mark=MARK.encode(), program=program),
            "stdin": given.decode("utf-8"),
            "language": self.language,
            "run_timeout": self.seconds(limits),
            "memory_limit_MB": limits.memory_mb,
        }
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        until = time.monotonic() + self.seconds(limits) + self.patience
        answer, _ = ask(self._where, "POST", self.path, body, until, headers)
        result = answer.get("run_result")
        if answer.get("status") not in ("Success", "Failed") or not isinstance(result, dict):
            raise ModelError(f"executor: {answer.get('status')}: {answer.get('message')}")
        if result.get("status") not in (FINISHED, LATE):
            raise ModelError(f"executor: run: {result.get('status')}")
        return result


class RemoteProcess:
    """A program at a remote executor, with the interface of `reward_models.verifiable.sandbox.process.Process`."""

    def __init__(self, sandbox: RemoteSandbox, program: str, limits: Limits) -> None:
        self.limits, self.tier = limits, sandbox.tier
        self.usage: Usage | None = None
        self._sandbox, self._program = sandbox, program
        self._input, self._answers = bytearray(), b""
        self._sent = self._killed = False
        self._told: dict[str, Any] = {}
        self._started = self._latest = time.monotonic()
        self._bell, self._ringer = socket.socketpair()

    @property
    def finished(self) -> bool:
        """Whether it has ended."""
        return self.usage is not None

    @property
    def deadline(self) -> float:
        """When to look at the clock: at once for a program that waits for input which cannot come."""
        return self._latest if self._sent else 0.0

    def write(self, data: bytes) -> None:
        """Add to its input."""
        if self._sent:
            raise ValueError("the input is closed")
        self._input += data

    def close_input(self) -> None:
        """Send the program with its input."""
        if not self._sent:
            self._sent = True
            self._started = time.monotonic()
            self._latest = self._started + self._sandbox.seconds(self.limits) + self._sandbox.patience + MARGIN
            threading.Thread(target=self._work, name="remote-program", daemon=True).start()

    def take_answers(self) -> bytes:
        """Return what it wrote on the answer channel, once."""
        data, self._answers = self._answers, b""
        return data

    def kill(self) -> None:
        """Wait for it no longer. The executor ends it at its own deadline."""
        if not self.finished:
            self._killed = True
            self._end({"return_code": -9})

    def wait(self) -> Usage:
        """Wait until it has ended."""
        while self.usage is None:
            advance([self])
        return self.usage

    def events(self) -> dict[int, int]:
        """The end is told by a byte."""
        return {self._bell.fileno(): selectors.EVENT_READ}

    def handle(self, descriptor: int) -> None:
        """Take the end in."""
        if not self.finished:
            self._end(self._told)

    def check_deadline(self) -> None:
        """Give up on a thread that is later than it may be, or on input that cannot be sent piece by piece."""
        if not self.finished and time.monotonic() > self.deadline:
            self._end({"error": "the executor did not answer" if self._sent else NOT_A_CONVERSATION})

    def _work(self) -> None:
        try:
            self._told = self._sandbox.run(self._program, bytes(self._input), self.limits)
        except (UnreachableError, DataError, ModelError, UnicodeError) as error:
            self._told = {"error": f"{type(error).__name__}: {error}"}
        except Exception as error:
            self._told = {"error": f"unexpected {type(error).__name__}: {error}"}
        with suppress(OSError):
            self._ringer.send(b"x")

    def _end(self, told: dict[str, Any]) -> None:
        returncode, error = told.get("return_code"), told.get("error")
        late = told.get("status") == LATE
        stdout, stderr = (str(told.get(name) or "").encode("utf-8", "replace") for name in ("stdout", "stderr"))
        _, marked, answers = stderr.partition(MARK.encode())
        if error is None and not (marked or self._killed or late):
            error = "the executor returned neither answers nor a time-out"
        self._answers = answers[: self.limits.answer_bytes]
        wall_ms = 1e3 * float(told.get("execution_time") or time.monotonic() - self._started)
        number = int(returncode) if returncode is not None else (-9 if late else 0)
        self._sandbox.failures += error is not None
        self._bell.close()
        self._ringer.close()
        self.usage = Usage(
            returncode=None if error else number,
            signal=-number if number < 0 and not error else None,
            wall_ms=wall_ms,
            cpu_ms=0.0,
            peak_kb=0,
            timed_out=late,
            killed=self._killed,
            output_exceeded=len(stdout) > self.limits.output_bytes,
            answers_exceeded=len(answers) > self.limits.answer_bytes,
            cpu_exceeded=False,
            stdout=stdout[: self.limits.output_bytes],
            stderr=b"",
            infrastructure_error=error,
        )

    def __del__(self) -> None:
        self._bell.close()
        self._ringer.close()
