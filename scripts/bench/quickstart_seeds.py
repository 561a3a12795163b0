"""The acceptance of the quickstart: it learns on every seed, in time.

    python -m scripts.bench.quickstart_seeds [--seeds 0 1 2]

Runs ``prefopt quickstart`` as a user does, each seed in a process of its own, prints a table and writes
``results/quickstart.json``. The exit status is 1 where a seed misses the goal or the limit of time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from prefopt.quickstart.run import THREADS
from scripts.bench.harness import RESULTS

LIMIT_SECONDS = 300.0


def measure(seed: int, folder: Path) -> dict[str, Any]:
    """Run one seed; return its summary with the wall-clock and processor seconds of the whole command."""
    begin, before = time.perf_counter(), os.times()
    subprocess.run(
        [sys.executable, "-m", "prefopt", "quickstart", "--output-dir", str(folder), "--seed", str(seed)], check=True
    )
    seconds, after = time.perf_counter() - begin, os.times()
    figures: dict[str, Any] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    return {**figures, "wall_clock_seconds": round(seconds, 1), "processor_seconds": round(processor, 1)}


def accepted(figures: dict[str, Any]) -> bool:
    """Whether a seed gained enough, in time."""
    return bool(figures["goal"]["reached"]) and figures["wall_clock_seconds"] < LIMIT_SECONDS


def show(results: list[dict[str, Any]]) -> None:
    table = Table(
        "seed", "base", "online", "gain (95 % interval)", "offline", "reward model", "seconds", "processor", ""
    )
    for figures in results:
        base, online, offline = (figures["policies"][name] for name in ("base", "online", "offline"))
        gain = online["gain"]
        table.add_row(
            str(figures["seed"]),
            *(f"{100 * policy['accuracy']['value']:.1f}" for policy in (base, online)),
            f"{100 * gain['value']:+.1f} ({100 * gain['low']:.1f} to {100 * gain['high']:.1f})",
            f"{100 * offline['accuracy']['value']:.1f}",
            f"{100 * figures['reward_model']['accuracy']['value']:.1f}",
            f"{figures['wall_clock_seconds']:.0f}",
            f"{figures['processor_seconds']:.0f}",
            "accepted" if accepted(figures) else "NOT accepted",
        )
    # Wide enough for one line a seed, also where the output goes to a file.
    Console(width=120).print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    seeds = parser.parse_args().seeds
    with tempfile.TemporaryDirectory() as folder:
        results = [measure(seed, Path(folder) / str(seed)) for seed in seeds]
    show(results)
    record = {
        "row": "quickstart",
        "goal_points": 100 * results[0]["goal"]["gain"],
        "limit_seconds": LIMIT_SECONDS,
        "device": f"cpu, {os.cpu_count()} cores",
        "threads": THREADS,
        "command": f"python -m scripts.bench.quickstart_seeds --seeds {' '.join(map(str, seeds))}",
        "accepted": all(map(accepted, results)),
        "seeds": results,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "quickstart.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return 0 if record["accepted"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
