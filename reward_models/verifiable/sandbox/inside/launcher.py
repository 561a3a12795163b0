"""The process that starts programs: one confined child each, forked from an interpreter that holds nothing of value.

It is executed afresh with a cleared environment, has one thread, and gets orders on the socket that is its stdin.
Framing: four bytes of length, then JSON. ``{"program": key, "text": source}`` teaches it a program;
``{"run": key, "limits": {...}}`` comes with five descriptors: stdin, stdout, stderr, answers, leash. The leash is told
``{"refused": reason}`` where confinement failed and ``{"status": ..., ...}`` at the end; a byte from it, or its end,
kills the program. When the socket ends, everything does.
"""

from __future__ import annotations

import fcntl
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import time

MEGABYTE = 1 << 20


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
        self.programs: dict[str, object] = {}
        self.children: dict[int, Child] = {}
        self.woken, wake = os.pipe()
        for end in (self.woken, wake):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake)

    def serve(self) -> object:
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
            if now >= child.deadline and not child.timed_out:
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

    def hear(self) -> object:
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

    def obey(self, order: dict) -> object:
        """Carry one order out; in a child, return the code that it is to run."""
        if "settings" in order:
            tell(self.orders, {"ready": sys.version.split()[0]})
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

    def become_program(self, ends: list[int], leash: socket.socket, limits: dict) -> None:
        """Leave nothing of the launcher to this child, and confine it."""
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            # Numbers above the targets first, so that no target overwrites a source still needed.
            sources = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in ends]
            leash.detach()
            self.orders.detach()
            for target, source in enumerate(sources):
                os.dup2(source, target, inheritable=target < 3)
            os.closerange(5, 1 << 16)
            leash = socket.socket(fileno=4)
            confine(limits)
            leash.close()
        except BaseException as error:
            tell(leash, {"refused": f"{type(error).__name__}: {error}"})
            os._exit(1)


def tell(leash: socket.socket, message: dict) -> None:
    """Send a line of JSON to the parent, which may be gone."""
    try:
        leash.sendall(json.dumps(message).encode() + b"\n")
    except OSError:
        pass


def confine(limits: dict) -> None:
    """Give everything up that a program shall not have."""
    os.setsid()
    seconds = max(1, -int(-limits["cpu_seconds"] // 1))
    stack = limits["stack_mb"] * MEGABYTE
    for kind, value in (
        (resource.RLIMIT_CPU, (seconds, seconds + 1)),
        (resource.RLIMIT_AS, (limits["memory_mb"] * MEGABYTE,) * 2),
        (resource.RLIMIT_FSIZE, (limits["file_bytes"],) * 2),
        (resource.RLIMIT_NOFILE, (limits["open_files"],) * 2),
        (resource.RLIMIT_CORE, (0, 0)),
        (resource.RLIMIT_STACK, (stack, stack)),
    ):
        resource.setrlimit(kind, value)


if __name__ == "__main__":
    launcher = Launcher(socket.socket(fileno=0))
    code = launcher.serve()
    # What follows happens in a child. The program is the main module, and nothing of the launcher is in its way.
    del launcher
    sys.modules["__main__"] = type(sys)("__main__")
    exec(code, sys.modules["__main__"].__dict__)
