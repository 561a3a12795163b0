"""What a program gives up for good before its first line runs. The launcher loads this and its child calls it."""

from __future__ import annotations

import base64
import ctypes
import os
import resource
import signal
import struct
import sys

MEGABYTE = 1 << 20
SET_DEATH_SIGNAL, SET_SECCOMP, SET_NO_NEW_PRIVILEGES, FILTER_MODE = 1, 22, 38, 2
# System calls and rights of Landlock: the same numbers on every architecture.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
WRITE_FILE, READ_FILE, READ_DIRECTORY = 1 << 1, 1 << 2, 1 << 3
O_PATH = 0o10000000
# A user's processes are counted in a user namespace of its own since this kernel.
COUNTED_APART = (5, 14)

libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: object) -> int:
    """Call a function of the C library. Raises OSError."""
    result = getattr(libc, name)(*arguments)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")
    return int(result)


def landlock_version() -> int:
    """Version of the kernel's Landlock, 0 without."""
    return max(0, int(libc.syscall(CREATE_RULESET, None, 0, 1)))


class Confinement:
    """Protections, and what they need, made once and applied in every child."""

    def __init__(self, settings: dict) -> None:
        self.protections = frozenset(settings["protections"])
        self.filter = base64.b64decode(settings["filter"])
        self.pid_places = settings["pid_places"]
        self.parent = os.getpid()
        self.other_threads = tasks_of_user() if settings["shared_user"] else 0
        self.counts_threads = settings["shared_user"] or kernel() >= COUNTED_APART
        if sys.platform == "linux":
            call("prctl", SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        self.ruleset = ruleset(settings["paths"]) if "landlock" in self.protections else None

    def apply(self, limits: dict, rules: int | None) -> None:
        """Confine this process, ``rules`` being the ruleset's descriptor here.

        Raises:
            OSError: a protection cannot be had; the program must not run.
        """
        if "own_session" in self.protections:
            os.setsid()
        if "dies_with_launcher" in self.protections:
            call("prctl", SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != self.parent:
                os._exit(1)
        for name, kind, value in self.resources(limits):
            if name in self.protections:
                resource.setrlimit(kind, value)
        if rules is not None:
            call("syscall", RESTRICT_SELF, rules, 0)
            os.close(rules)
        if self.filter:
            install(self.filter, self.pid_places)

    def resources(self, limits: dict) -> list:
        """Name, kind and value of each resource limit; soft and hard, so that it cannot be raised again."""
        seconds = max(1, -int(-limits["cpu_seconds"] // 1))
        stack = limits["stack_mb"] * MEGABYTE
        threads = self.other_threads + limits["threads"] if self.counts_threads else resource.RLIM_INFINITY
        return [
            ("cpu_limit", resource.RLIMIT_CPU, (seconds, seconds + 1)),
            ("memory_limit", resource.RLIMIT_AS, (limits["memory_mb"] * MEGABYTE,) * 2),
            ("file_limit", resource.RLIMIT_FSIZE, (limits["file_bytes"],) * 2),
            ("descriptor_limit", resource.RLIMIT_NOFILE, (limits["open_files"],) * 2),
            ("core_limit", resource.RLIMIT_CORE, (0, 0)),
            ("stack_limit", resource.RLIMIT_STACK, (stack, stack)),
            ("thread_limit", resource.RLIMIT_NPROC, (threads, threads)),
        ]


def install(code: bytes, pid_places: list) -> None:
    """Put the filter of system calls on this process, its own number written where it belongs."""
    program = bytearray(code)
    for place in pid_places:
        struct.pack_into("<I", program, place, os.getpid())
    held = (ctypes.c_char * len(program)).from_buffer(program)
    header = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(held)))
    call("prctl", SET_SECCOMP, FILTER_MODE, header, 0, 0)


def ruleset(paths: dict) -> int:
    """Make a Landlock ruleset that handles everything this kernel can handle, and allows what is listed.

    ``paths``: ``readable`` with what lies beneath, ``listable`` without reading what they name, ``writable``.
    """
    version = landlock_version()
    files = (1 << 13) - 1 | (1 << 13) * (version >= 2) | (1 << 14) * (version >= 3) | (1 << 15) * (version >= 5)
    fields = [files, *([3] if version >= 4 else []), *([3] if version >= 6 else [])]
    attributes = struct.pack(f"@{len(fields)}Q", *fields)
    rules = call("syscall", CREATE_RULESET, attributes, len(attributes), 0)
    rights = {
        "readable": READ_FILE | READ_DIRECTORY,
        "listable": READ_DIRECTORY,
        "writable": READ_FILE | WRITE_FILE,
    }
    for kind, listed in paths.items():
        for path in listed:
            allow(rules, path, rights[kind])
    return rules


def allow(rules: int, path: str, rights: int) -> None:
    """Add a rule for a file, or a directory and what lies beneath it. What is not there needs none."""
    try:
        place = os.open(path, O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not os.path.isdir(path):
            rights &= ~READ_DIRECTORY
        call("syscall", ADD_RULE, rules, 1, struct.pack("=Qi", rights, place), 0)
    finally:
        os.close(place)


def kernel() -> tuple:
    """Major and minor version."""
    digits = os.uname().release.split(".")
    return int(digits[0]), int("".join(c for c in digits[1] if c.isdigit()) or 0)


def tasks_of_user() -> int:
    """How many threads of this user run now, as RLIMIT_NPROC counts them."""
    count = 0
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.stat(f"/proc/{name}").st_uid == os.getuid():
                count += len(os.listdir(f"/proc/{name}/task"))
        except OSError:
            continue
    return count
