"""What one program may use."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Limits:
    """Upper bounds for one program, each enforced from outside of its reach.

    Attributes:
        wall_seconds: from its start to SIGKILL.
        cpu_seconds: processor time of all its threads; rounded up to whole seconds by the kernel.
        memory_mb: address space.
        output_bytes: of stdout and of stderr, each; a program that writes more is killed.
        answer_bytes: on the answer channel; a program that writes more is killed.
        file_bytes: of one file that it writes (it can open none for writing in a confined tier).
        open_files: file descriptors at one time.
        stack_mb: stack of the main thread.
        threads: at one time.
    """

    wall_seconds: float = 10.0
    cpu_seconds: float = 10.0
    memory_mb: int = 1024
    output_bytes: int = 1 << 20
    answer_bytes: int = 16 << 20
    file_bytes: int = 1 << 20
    open_files: int = 64
    stack_mb: int = 64
    threads: int = 64

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value > 0:
                raise ValueError(f"Limits.{field.name} must be positive, not {value!r}")
