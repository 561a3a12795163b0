"""The filter of system calls, as a program for the kernel's classic BPF machine.

Denials are errors and not the end of the process, so that an honest program that merely asks (a library that counts
processors, a thread pool) gets an answer. Only calls by another architecture's numbers kill: nothing honest makes them,
and a filter that reads numbers would misunderstand them.
"""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from reward_models.verifiable.sandbox.errors import SandboxUnavailable
from reward_models.verifiable.sandbox.syscalls import ALLOWED, CHECKED, DENIED, numbers

# (operation, jump if true, jump if false, operand), as struct sock_filter of linux/filter.h.
Instruction = tuple[int, int, int, int]
LOAD, AND, ALWAYS, EQUAL, AT_LEAST, RETURN = 0x20, 0x54, 0x05, 0x15, 0x35, 0x06

ALLOW, KILL, ERROR = 0x7FFF0000, 0x80000000, 0x00050000
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
X32 = 0x40000000
# Where struct seccomp_data has the number, the architecture, and the low half of each argument.
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16

# The launcher's child writes its own number here: only it knows it.
OWN_PID = 0xC0DE0001

CLONE_THREAD, CLONE_NEW_ANYTHING = 0x00010000, 0x7E020000
# PR_GET_PDEATHSIG, PR_GET_DUMPABLE, PR_SET_NAME, PR_GET_NAME, PR_GET_SECCOMP, PR_CAPBSET_READ,
# PR_GET_NO_NEW_PRIVS, PR_SET_VMA
PRCTL = (2, 3, 15, 16, 21, 23, 39, 0x53564D41)
# TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX. Not TIOCSTI, not FIOSETOWN, which directs signals.
IOCTL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
# F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC, F_GETPIPE_SZ. Not F_SETOWN, which directs signals.
FCNTL = (0, 1, 2, 3, 4, 1030, 1032)
UNIX, STREAM, KIND_OF_SOCKET = 1, 1, 0xF


@dataclass(frozen=True)
class Filter:
    """Instructions as bytes, and at which offsets the process's own number belongs."""

    code: bytes
    pid_places: tuple[int, ...]


def build_filter(without: Collection[str] = (), machine: str | None = None) -> Filter:
    """Return the filter for an architecture, by default this one's, without some protections.

    Raises:
        SandboxUnavailable: the architecture is not known.
    """
    machine = machine or platform.machine()
    if machine not in ARCHITECTURES:
        raise SandboxUnavailable(
            f"no table of system calls for the architecture {machine!r}; there is one for {', '.join(ARCHITECTURES)}"
        )
    number = numbers(machine)
    action = {name: [_answer(ALLOW)] for group in ALLOWED.values() for name in group.split()}
    for protection, group in DENIED.items():
        answer = ALLOW if protection in without else ERROR | errno.EPERM
        action |= {name: [_answer(answer)] for name in group.split()}
    for name, protection in CHECKED.items():
        action[name] = [_answer(ALLOW)] if protection in without else _check(name)
    if "no_fork" not in without:
        # The C library then makes threads by clone, whose flags the filter can read.
        action["clone3"] = [_answer(ERROR | errno.ENOSYS)]
    unknown = [_answer(ALLOW if "known_calls_only" in without else ERROR | errno.ENOSYS)]
    body = _search(_intervals({number[name]: code for name, code in action.items() if name in number}, unknown))
    program = [*_same_architecture(machine, "native_calls_only" in without), *body]
    code = b"".join(struct.pack("<HBBI", *instruction) for instruction in program)
    return Filter(code, tuple(8 * at + 4 for at, one in enumerate(program) if one[3] == OWN_PID))


def _same_architecture(machine: str, removed: bool) -> list[Instruction]:
    number = (LOAD, 0, 0, NUMBER)
    if removed:
        return [number]
    same = [(LOAD, 0, 0, ARCHITECTURE), (EQUAL, 1, 0, ARCHITECTURES[machine]), _answer(KILL), number]
    return [*same, (AT_LEAST, 0, 1, X32), _answer(KILL)] if machine == "x86_64" else same


def _check(name: str) -> list[Instruction]:
    """Instructions for a call whose arguments decide; they answer in any case."""
    denied = _answer(ERROR | errno.EPERM)
    match name:
        case "clone":
            thread = [_argument(0), (AND, 0, 0, CLONE_THREAD | CLONE_NEW_ANYTHING)]
            return [*thread, *_one_of((CLONE_THREAD,)), denied]
        case "prctl":
            return [_argument(0), *_one_of(PRCTL), denied]
        case "ioctl":
            return [_argument(1), *_one_of(IOCTL), denied]
        case "fcntl":
            return [_argument(1), *_one_of(FCNTL), denied]
        case "kill" | "tgkill":
            return [_argument(0), *_one_of((OWN_PID,)), denied]
        case "prlimit64":
            return [_argument(0), *_one_of((0, OWN_PID)), denied]
        case "socketpair":
            # An event loop wakes itself through one. Streams stay connected to each other for ever.
            kind = [_argument(1), (AND, 0, 0, KIND_OF_SOCKET), *_one_of((STREAM,))]
            return [_argument(0), (EQUAL, 0, len(kind), UNIX), *kind, denied]
        case "sendto":
            # Without an address: both halves of the pointer are zero.
            low = [(LOAD, 0, 0, ARGUMENTS + 8 * 4), (EQUAL, 0, 3, 0)]
            return [*low, (LOAD, 0, 0, ARGUMENTS + 8 * 4 + 4), *_one_of((0,)), denied]
    raise KeyError(name)


def _argument(index: int) -> Instruction:
    return (LOAD, 0, 0, ARGUMENTS + 8 * index)


def _answer(what: int) -> Instruction:
    return (RETURN, 0, 0, what)


def _one_of(values: Sequence[int]) -> list[Instruction]:
    return [one for value in values for one in ((EQUAL, 0, 1, value), _answer(ALLOW))]


def _intervals(
    action: dict[int, list[Instruction]], otherwise: list[Instruction]
) -> list[tuple[int, list[Instruction]]]:
    """Where the action changes, from 0 upwards: ``(first number, action)``."""
    found: list[tuple[int, list[Instruction]]] = []
    for number in range(max(action) + 2):
        here = action.get(number, otherwise)
        if not found or found[-1][1] != here:
            found.append((number, here))
    return found


def _search(intervals: Sequence[tuple[int, list[Instruction]]]) -> list[Instruction]:
    """Binary search for the number that is loaded."""
    if len(intervals) == 1:
        return intervals[0][1]
    middle = len(intervals) // 2
    below, above = _search(intervals[:middle]), _search(intervals[middle:])
    if len(below) < 256:
        return [(AT_LEAST, len(below), 0, intervals[middle][0]), *below, *above]
    return [(AT_LEAST, 0, 1, intervals[middle][0]), (ALWAYS, 0, 0, len(below)), *below, *above]
