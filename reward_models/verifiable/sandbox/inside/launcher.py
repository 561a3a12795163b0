"""The process that starts programs: one confined child each, forked from an interpreter that holds nothing of value.

It is executed afresh with a cleared environment, has one thread, and gets orders on the socket that is its stdin.
Framing: four bytes of length, then JSON. ``{"program": key, "text": source}`` teaches it a program;
``{"run": key, "limits": {...}}`` comes with five descriptors: stdin, stdout, stderr, answers, leash. The leash is told
``{"refused": reason}`` where confinement failed and ``{"status": ..., ...}`` at the end; a byte from it, or its end,
kills the program. When the socket ends, everything does.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import gc
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from types import CodeType, ModuleType
from typing import Any


class Child:
    """A running program: its leash, its start and its deadline."""

    def __init__(self, leash: socket.socket, seconds: float) -> None:
        self.leash = leash
        self.started = time.monotonic()
        self.deadline = self.started + seconds
        self.timed_out = False


class Launcher:
    """Reads orders, forks, kills at deadlines, tells how programs ended."""

    def __init__(self, orders: socket.socket) -> None:
        self.orders = orders
        self.buffer = b""
        self.descriptors: list[int] = []
        self.programs: dict[str, CodeType] = {}
        self.children: dict[int, Child] = {}
        self.confinement: Any = None
        self.woken, wake = os.pipe()
        for end in (self.woken, wake):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake)

    def serve(self) -> CodeType | None:
        """Serve until the orders end; in a child, return the code that it is to run."""
        while True:
            poll = select.poll()
            poll.register(self.orders, select.POLLIN)
            poll.register(self.woken, select.POLLIN)
            leashes = {child.leash.fileno(): pid for pid, child in self.children.items()}
            for leash in leashes:
                poll.register(leash, select.POLLIN)
            for descriptor, _ in poll.poll(self.patience()):
                if descriptor == self.woken:
                    os.read(self.woken, 4096)
                elif descriptor in leashes:
                    self.kill(leashes[descriptor])
                else:
                    code = self.hear()
                    if code is not None:
                        return code
            self.keep_deadlines()
            self.bury()

    def patience(self) -> float | None:
        """Milliseconds to the next deadline."""
        waiting = [child.deadline for child in self.children.values() if not child.timed_out]
        return max(0.0, 1e3 * (min(waiting) - time.monotonic())) + 1 if waiting else None

    def kill(self, pid: int) -> None:
        """End a child that still runs."""
        if pid in self.children:
            os.kill(pid, signal.SIGKILL)

    def keep_deadlines(self) -> None:
        """Kill what is late."""
        now = time.monotonic()
        for pid, child in self.children.items():
            if now >= child.deadline and not child.timed_out and "wall_clock" in self.confinement.protections:
                child.timed_out = True
                os.kill(pid, signal.SIGKILL)

    def bury(self) -> None:
        """Tell the parent of children that ended."""
        for pid in list(self.children):
            found, status, usage = os.wait4(pid, os.WNOHANG)
            if not found:
                continue
            child = self.children.pop(pid)
            told = {
                "status": status,
                "wall_ms": 1e3 * (time.monotonic() - child.started),
                "cpu_ms": 1e3 * (usage.ru_utime + usage.ru_stime),
                "peak_kb": usage.ru_maxrss,
                "timed_out": child.timed_out,
            }
            tell(child.leash, told)
            child.leash.close()

    def hear(self) -> CodeType | None:
        """Take orders from the socket; in a child, return the code that it is to run."""
        data, descriptors, _, _ = socket.recv_fds(self.orders, 1 << 16, 32)
        if not data:
            for pid in self.children:
                os.kill(pid, signal.SIGKILL)
            os._exit(0)
        self.buffer += data
        self.descriptors += descriptors
        while len(self.buffer) >= 4:
            (length,) = struct.unpack("!I", self.buffer[:4])
            if len(self.buffer) < 4 + length:
                break
            order = json.loads(self.buffer[4 : 4 + length])
            self.buffer = self.buffer[4 + length :]
            code = self.obey(order)
            if code is not None:
                return code
        return None

    def obey(self, order: dict) -> CodeType | None:
        """Carry one order out; in a child, return the code that it is to run."""
        if "settings" in order:
            self.prepare(order)
            return None
        if "text" in order:
            self.programs[order["program"]] = compile(order["text"], "<program>", "exec")
            return None
        ends, self.descriptors = self.descriptors[:5], self.descriptors[5:]
        leash = socket.socket(fileno=ends[4])
        try:
            pid = os.fork()
        except OSError as error:
            tell(leash, {"refused": f"fork: {error}"})
            leash.close()
            pid = -1
        if pid == 0:
            self.become_program(ends, leash, order["limits"])
            return self.programs[order["run"]]
        for end in ends[:4]:
            os.close(end)
        if pid > 0:
            self.children[pid] = Child(leash, order["limits"]["wall_seconds"])
        return None

    def prepare(self, order: dict) -> None:
        """Make the confinement, and tell the parent what the machine offers."""
        module: dict = {"__name__": "confinement"}
        exec(compile(order["confinement"], "<confinement>", "exec"), module)
        try:
            self.confinement = module["Confinement"](order["settings"])
            # What is here now is never collected: a child's collector would copy every page by marking it.
            gc.freeze()
            tell(self.orders, {"ready": sys.version.split()[0]})
        except OSError as error:
            tell(self.orders, {"refused": str(error)})
            os._exit(1)

    def become_program(self, ends: list[int], leash: socket.socket, limits: dict) -> None:
        """Leave nothing of the launcher to this child, and confine it."""
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            rules = self.confinement.ruleset
            kept = ends if rules is None else [*ends, rules]
            # Numbers above the targets first, so that no target overwrites a source still needed.
            sources = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 10) for descriptor in kept]
            leash.detach()
            self.orders.detach()
            for target, source in enumerate(sources):
                os.dup2(source, target, inheritable=target < 3)
            leash = socket.socket(fileno=4)
            if "no_descriptors" in self.confinement.protections:
                os.closerange(len(kept), 1 << 16)
            self.confinement.apply(limits, None if rules is None else 5)
            leash.close()
        except BaseException as error:
            tell(leash, {"refused": f"{type(error).__name__}: {error}"})
            os._exit(1)


def tell(leash: socket.socket, message: dict) -> None:
    """Send a line of JSON to the parent, which may be gone."""
    with contextlib.suppress(OSError):
        leash.sendall(json.dumps(message).encode() + b"\n")


def run(code: CodeType) -> int:
    """Run a program as the main module and return its exit status, as the interpreter would have it."""
    main = sys.modules["__main__"] = ModuleType("__main__")
    try:
        exec(code, main.__dict__)
    except SystemExit as stop:
        return status(stop)
    except BaseException as error:
        beginning = error.__traceback__.tb_next if error.__traceback__ else None
        sys.excepthook(type(error), error.with_traceback(beginning), beginning)
        return 1
    return 0


def status(stop: SystemExit) -> int:
    """Exit status that ``sys.exit(code)`` means."""
    if stop.code is None or isinstance(stop.code, int):
        return (stop.code or 0) & 0xFF
    print(stop.code, file=sys.stderr)
    return 1


def leave(code: int) -> None:
    """End as the interpreter would, but for taking apart what the kernel frees anyway: that costs more than the run."""
    with contextlib.suppress(BaseException):
        if "threading" in sys.modules:
            sys.modules["threading"]._shutdown()
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    # Not from the current directory.
    sys.path[:] = [path for path in sys.path if path]
    launcher = Launcher(socket.socket(fileno=0))
    code: Any = launcher.serve()
    # What follows happens in a child.
    del launcher
    leave(run(code))
