"""A disk of a few KiB: a tmpfs where one may be mounted."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SmallDisk:
    """A file system with little room."""

    path: Path

    def grow(self, kib: int = 16384) -> None:
        """Make room."""
        subprocess.run(["mount", "-o", f"remount,size={kib}k", str(self.path)], check=True)


@contextmanager
def small_disk(folder: Path, kib: int) -> Iterator[SmallDisk | None]:
    """Mount a disk of ``kib`` KiB; None where that is not allowed."""
    path = folder / f"disk-{kib}"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(path)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    try:
        yield SmallDisk(path) if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(path)], check=True)
        path.rmdir()
