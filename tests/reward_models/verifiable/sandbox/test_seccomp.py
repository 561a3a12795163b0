"""What the filter decides on every call, by our own reading of the program: both architectures, on any machine."""

from __future__ import annotations

import errno
import os
import struct

import pytest

from reward_models.verifiable.sandbox.errors import SandboxUnavailable
from reward_models.verifiable.sandbox.seccomp import ALLOW, ARCHITECTURES, ERROR, KILL, OWN_PID, build_filter
from reward_models.verifiable.sandbox.syscalls import ALLOWED, CHECKED, DENIED, numbers

PERMISSION, MISSING = ERROR | errno.EPERM, ERROR | errno.ENOSYS
PID = OWN_PID


def decide(machine: str, number: int, *arguments: int, architecture: int | None = None) -> int:
    """What the kernel would answer: a machine with one register that reads struct seccomp_data."""
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("<IIQ6Q", number, ARCHITECTURES[machine] if architecture is None else architecture, 0, *padded)
    program = list(struct.iter_unpack("<HBBI", build_filter(machine=machine).code))
    assert len(program) < 4096
    at = register = 0
    while True:
        operation, if_true, if_false, operand = program[at]
        at += 1
        match operation:
            case 0x20:
                (register,) = struct.unpack_from("<I", data, operand)
            case 0x54:
                register &= operand
            case 0x05:
                at += operand
            case 0x15:
                at += if_true if register == operand else if_false
            case 0x35:
                at += if_true if register >= operand else if_false
            case 0x06:
                return operand
            case _:
                pytest.fail(f"no such operation: {operation:#x}")


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_every_call(machine: str) -> None:
    """Allowed calls are allowed, denied ones EPERM but clone3 ENOSYS, and all other numbers up to 1024 ENOSYS."""
    number = numbers(machine)
    expected = dict.fromkeys(range(1024), MISSING)
    expected |= {number[name]: ALLOW for group in ALLOWED.values() for name in group.split() if name in number}
    expected |= {number[name]: PERMISSION for group in DENIED.values() for name in group.split() if name in number}
    expected[number["clone3"]] = MISSING
    for name in CHECKED:
        del expected[number[name]]
    assert {n: decide(machine, n) for n in expected} == expected


@pytest.mark.parametrize("machine", ARCHITECTURES)
@pytest.mark.parametrize(
    ("name", "arguments", "answer"),
    [
        ("clone", [0x3D0F00], ALLOW),  # the flags that the C library makes a thread with
        ("clone", [17], PERMISSION),  # SIGCHLD: a process
        ("clone", [0x3D0F00 | 0x10000000], PERMISSION),  # a thread in a user namespace of its own
        ("clone", [0x3D0F00 | 0x40000000], PERMISSION),
        ("prctl", [15], ALLOW),
        ("prctl", [22], PERMISSION),  # PR_SET_SECCOMP
        ("prctl", [0x59616D61], PERMISSION),  # PR_SET_PTRACER
        ("ioctl", [0, 0x5401], ALLOW),  # TCGETS, by which isatty asks
        ("ioctl", [0, 0x5412], PERMISSION),  # TIOCSTI
        # The kernel reads 32 bits of the number, so that high bits must not hide it.
        ("ioctl", [0, 0x5412 | 1 << 32], PERMISSION),
        ("ioctl", [0, 0x5401 | 1 << 32], ALLOW),
        ("fcntl", [0, 1030], ALLOW),
        ("fcntl", [0, 8], PERMISSION),  # F_SETOWN
        ("kill", [PID, 9], ALLOW),
        ("kill", [1, 9], PERMISSION),
        ("kill", [0xFFFFFFFFFFFFFFFF, 9], PERMISSION),
        ("tgkill", [PID, PID, 6], ALLOW),
        ("tgkill", [PID + 1, PID + 1, 6], PERMISSION),
        ("prlimit64", [0, 7], ALLOW),
        ("prlimit64", [PID + 1, 7], PERMISSION),
        ("socketpair", [1, 1 | 0o2000000], ALLOW),  # a stream, closed on exec
        ("socketpair", [1, 2], PERMISSION),  # datagrams, which could be sent elsewhere
        ("socketpair", [2, 1], PERMISSION),
        ("sendto", [3, 0, 1, 0, 0, 0], ALLOW),
        ("sendto", [3, 0, 1, 0, 0x7F0012345678, 16], PERMISSION),
        ("sendto", [3, 0, 1, 0, 0x7F00000000, 16], PERMISSION),  # an address whose low half is not zero alone
        ("sendto", [3, 0, 1, 0, 0x5600000000000000 >> 8 << 8, 16], PERMISSION),
    ],
)
def test_arguments_decide(machine: str, name: str, arguments: list[int], answer: int) -> None:
    """Calls that are allowed with some arguments only."""
    assert decide(machine, numbers(machine)[name], *arguments) == answer


def test_foreign_numbers_kill() -> None:
    """x86-64's filter kills i386 (0x40000003), aarch64 and the x32 numbers; aarch64's kills x86-64."""
    getpid = numbers("x86_64")["getpid"]
    assert decide("x86_64", getpid) == ALLOW
    assert decide("x86_64", getpid, architecture=0x40000003) == KILL
    assert decide("x86_64", getpid, architecture=ARCHITECTURES["aarch64"]) == KILL
    assert decide("x86_64", getpid | 0x40000000) == KILL
    assert decide("x86_64", 0xFFFFFFFF) == KILL
    assert decide("aarch64", numbers("aarch64")["getpid"], architecture=ARCHITECTURES["x86_64"]) == KILL


def test_unknown_architecture_refuses() -> None:
    """There is no table for riscv64, so that there is no filter."""
    with pytest.raises(SandboxUnavailable, match="riscv64"):
        build_filter(machine="riscv64")


def test_own_number_is_written_where_it_belongs() -> None:
    """The places hold the mark, and nothing else does: kill, tgkill and prlimit64, once each."""
    built = build_filter(machine="x86_64")
    found = [at for at in range(4, len(built.code), 8) if struct.unpack_from("<I", built.code, at)[0] == OWN_PID]
    assert list(built.pid_places) == found
    assert len(found) == 3


def test_numbers_are_the_kernels() -> None:
    """This machine's own numbers of three calls: what the C library's header says, checked by calling them."""
    import ctypes

    number = numbers(os.uname().machine)
    call = ctypes.CDLL(None).syscall
    assert call(number["getpid"]) == os.getpid()
    assert call(number["getppid"]) == os.getppid()
    assert call(number["geteuid"]) == os.geteuid()
