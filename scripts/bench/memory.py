"""``python -m scripts.bench.memory ROW ours|peer``: peak memory of one run of one side, in this process alone."""

from __future__ import annotations

import sys
import threading
import time

import psutil

from scripts.bench.__main__ import load_row


class Peak(threading.Thread):
    """Watches the resident size of this process, MiB."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.process = psutil.Process()
        self.start_mib = self.peak_mib = self.now()
        self.done = False

    def now(self) -> float:
        return self.process.memory_info().rss / 2**20

    def run(self) -> None:
        while not self.done:
            self.peak_mib = max(self.peak_mib, self.now())
            time.sleep(0.005)


def main(name: str, side: str) -> int:
    """Run one side once and print by how many MiB it grew."""
    factories = load_row(name).memory
    if factories is None:
        raise SystemExit(f"row {name} compares no memory")
    work = factories[("ours", "peer").index(side)]()
    watch = Peak()
    watch.start()
    work()
    watch.done = True
    watch.join()
    print(f"{watch.peak_mib - watch.start_mib:.1f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
