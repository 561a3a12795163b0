"""How a program in a sandbox ended."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Usage:
    """How a program ended and what it used.

    Attributes:
        returncode: exit status, or minus the number of the signal that ended it; None if the sandbox failed.
        signal: that ended it, or None.
        timed_out: killed at ``Limits.wall_seconds``. killed: by ``kill()``.
        output_exceeded, answers_exceeded: killed since it wrote more than it may.
        cpu_exceeded: its processor time reached ``Limits.cpu_seconds``.
        stdout, stderr: what it wrote, up to ``Limits.output_bytes`` each.
        infrastructure_error: why the sandbox, and not the program, failed; None if it did not.
    """

    returncode: int | None
    signal: int | None
    wall_ms: float
    cpu_ms: float
    peak_kb: int
    timed_out: bool
    killed: bool
    output_exceeded: bool
    answers_exceeded: bool
    cpu_exceeded: bool
    stdout: bytes
    stderr: bytes
    infrastructure_error: str | None = None
