"""Measuring beside a peer: alternating runs in one process, the ratio of their times with its spread.

A row of the table is a module of ``scripts/bench/rows`` with ``ROW = Row(...)``. ``prepare`` builds both sides once a
setting of threads and returns two functions without arguments; a run calls ours and the peer's in turn, so that
whatever else the machine does hits both alike.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"

Sides = tuple[Callable[[], Any], Callable[[], Any]]


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: also the name of the result file.
        work: what is done, in words.
        peer: distribution name of the peer.
        settings: the peer's settings, in words.
        reach: ratio to reach. limit: ratio of the counted work, named in ``limit_reason``; a peer that does more than
            that work can be beaten by more.
        prepare: builds ``(ours, peer)``.
        memory: builds ours and builds the peer, where peak memory is to be compared.
        runs: alternating runs. warm_up: one of each before, which is not counted.
    """

    name: str
    work: str
    peer: str
    settings: str
    prepare: Callable[[], Sides]
    reach: float
    limit: float | None = None
    limit_reason: str = ""
    runs: int = 3
    warm_up: bool = True
    threads: tuple[int, ...] = (1, 2)
    memory: tuple[Callable[[], Callable[[], Any]], Callable[[], Callable[[], Any]]] | None = None
    extra: Callable[[], dict[str, Any]] = field(default=dict)


def seconds(call: Callable[[], Any]) -> float:
    """Wall-clock seconds of one call, the device's queue drained."""
    start = time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def alternate(
    ours: Callable[[], Any], peer: Callable[[], Any], runs: int, warm_up: bool = True
) -> list[tuple[float, float]]:
    """``runs`` pairs of seconds ``(ours, peer)``, after one warm-up of each where wanted."""
    if warm_up:
        ours(), peer()
    return [(seconds(ours), seconds(peer)) for _ in range(runs)]


def ratio(times: list[tuple[float, float]]) -> dict[str, float]:
    """Median, least and largest of peer seconds over our seconds."""
    ratios = [peer / ours for ours, peer in times]
    return {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Run with ``number`` threads of torch."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def run(row: Row) -> dict[str, Any]:
    """Measure a row at each number of threads, and write and return its result."""
    measured = []
    for number in row.threads:
        with threads(number):
            ours, peer = row.prepare()
            times = alternate(ours, peer, row.runs, row.warm_up)
        measured.append(
            {
                "threads": number,
                "ratio": ratio(times),
                "ours_s": [round(a, 4) for a, _ in times],
                "peer_s": [round(b, 4) for _, b in times],
            }
        )
    result = {
        "row": row.name,
        "work": row.work,
        "peer": f"{row.peer} {version(row.peer)}, {row.settings}",
        "reach": row.reach,
        "limit": row.limit,
        "limit_reason": row.limit_reason,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "torch": torch.__version__,
        "measured": measured,
        "command": f"python -m scripts.bench {row.name}",
        "peak_mib": peaks(row) if row.memory else None,
        **row.extra(),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{row.name}.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def peaks(row: Row) -> dict[str, float]:
    """Peak resident MiB of one run of each side, each in a process of its own, over what building it took."""
    found = {}
    for side in ("ours", "peer"):
        command = [sys.executable, "-m", "scripts.bench.memory", row.name, side]
        output = subprocess.run(command, check=True, capture_output=True, text=True, cwd=RESULTS.parents[2]).stdout
        found[side] = float(output.splitlines()[-1])
    return found
