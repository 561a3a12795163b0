"""The parent's side of a launcher: start it, teach it programs, order runs."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import struct
import subprocess
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from typing import Any

from reward_models.verifiable.sandbox.errors import SandboxFailure
from reward_models.verifiable.sandbox.interpreter import identity
from reward_models.verifiable.sandbox.limits import Limits
from reward_models.verifiable.sandbox.process import Ends, Process

START_SECONDS = 20.0
MANY_PROGRAMS = 32


@cache
def inside(name: str) -> str:
    """Return the text of a program that runs inside."""
    return (files("reward_models.verifiable.sandbox.inside") / f"{name}.py").read_text(encoding="utf-8")


class Box:
    """A launcher, started by ``command``, that gets ``settings`` first.

    Raises:
        SandboxFailure: it does not start; with what it wrote to its stderr.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], settings: Mapping[str, Any], user: int | None
    ) -> None:
        self._lock = threading.Lock()
        self._known: set[str] = set()
        self.orders, theirs = socket.socketpair()
        try:
            self._popen: subprocess.Popen[bytes] = subprocess.Popen(  # type: ignore[call-overload]
                command,
                stdin=theirs,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=dict(environment),
                cwd="/",
                start_new_session=True,
                **identity(user),
            )
        except OSError as error:
            self.orders.close()
            raise SandboxFailure(f"{command[0]}: {error}") from error
        finally:
            theirs.close()
        self._finalizer = weakref.finalize(self, _shut, self.orders, self._popen, os.getpid())
        self.pid = self._popen.pid
        try:
            self.facts = self._greet(settings)
        except (OSError, ValueError) as error:
            raise SandboxFailure(f"the launcher did not start: {self._complaint() or error}") from error

    def start(self, program: str, limits: Limits, tier: str, release: Callable[[bool], None]) -> Process:
        """Run a program. ``release`` is called at its end with whether the launcher is still sound.

        Raises:
            SandboxFailure: the launcher is gone.
        """
        key = hashlib.sha256(program.encode()).hexdigest()
        ours, theirs = _channels()
        try:
            with self._lock:
                if key not in self._known:
                    self._order({"program": key, "text": program})
                    self._known.add(key)
                self._order({"run": key, "limits": asdict(limits)}, theirs)
        except OSError as error:
            for descriptor in ours:
                os.close(descriptor)
            raise SandboxFailure(f"the launcher has ended: {self._complaint() or error}") from error
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        ends = Ends(ours[0], ours[1], ours[2], ours[3], socket.socket(fileno=ours[4]))
        return Process(ends, limits, tier, release)

    @property
    def worn(self) -> bool:
        """Whether it has learnt so many programs that a fresh one is better."""
        return len(self._known) > MANY_PROGRAMS

    def close(self) -> None:
        """End the launcher and all that runs in it."""
        self._finalizer()

    def __enter__(self) -> Box:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _greet(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        launcher = inside("launcher").encode()
        self.orders.sendall(struct.pack("!I", len(launcher)) + launcher)
        self._order({"settings": dict(settings), "confinement": inside("confinement")})
        self.orders.settimeout(START_SECONDS)
        line = b""
        while not line.endswith(b"\n"):
            data = self.orders.recv(1 << 16)
            if not data:
                raise ValueError("it ended at once")
            line += data
        self.orders.settimeout(None)
        told: dict[str, Any] = json.loads(line)
        if "refused" in told:
            raise ValueError(told["refused"])
        return told

    def _order(self, message: Mapping[str, Any], descriptors: Sequence[int] = ()) -> None:
        text = json.dumps(message).encode()
        data = struct.pack("!I", len(text)) + text
        sent = socket.send_fds(self.orders, [data], descriptors) if descriptors else 0
        self.orders.sendall(data[sent:])

    def _complaint(self) -> str:
        self.close()
        assert self._popen.stderr is not None
        with suppress(OSError, ValueError), self._popen.stderr as stderr:
            return stderr.read(1 << 16).decode(errors="replace").strip()
        return ""


def _channels() -> tuple[list[int], list[int]]:
    """Ours and theirs: stdin, stdout, stderr, answers, leash."""
    theirs_in, ours_in = os.pipe()
    pipes = [os.pipe() for _ in range(3)]
    leash = socket.socketpair()
    ours = [ours_in, *(read for read, _ in pipes), leash[0].detach()]
    return ours, [theirs_in, *(write for _, write in pipes), leash[1].detach()]


def _shut(orders: socket.socket, popen: subprocess.Popen[bytes], owner: int) -> None:
    if os.getpid() != owner:
        # A fork of the owner must not end what the owner still uses.
        orders.close()
        return
    with suppress(OSError):
        orders.shutdown(socket.SHUT_RDWR)
    orders.close()
    until = time.monotonic() + 2.0
    while popen.poll() is None and time.monotonic() < until:
        time.sleep(0.002)
    if popen.poll() is None:
        popen.kill()
        popen.wait()
