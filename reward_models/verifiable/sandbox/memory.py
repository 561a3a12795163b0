"""Whether the machine ran out of memory: what its killer ends is no fault of the program that it chose."""

from __future__ import annotations

from pathlib import Path

COUNTERS = Path("/proc/vmstat")


def out_of_memory_kills() -> int:
    """Return how many processes the kernel has ended for want of memory, in all control groups; 0 where it hides it."""
    try:
        lines = COUNTERS.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
