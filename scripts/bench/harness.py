"""Measuring beside a peer: alternating runs in one process, the ratio of their times with its spread.

A row of the table is a module of ``scripts/bench/rows`` with ``ROW = Row(...)``. ``prepare`` builds both sides once a
setting of threads and returns two functions without arguments; a run calls ours and the peer's in turn, so that
whatever else the machine does hits both alike.
"""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Counts:
    """Work of a row in one unit of its choice: tokens, or multiplications in matrix products.

    Attributes:
        peer: what the peer computes, padding and repeated prompts included.
        ours: what we compute, padding and prompts of split trees included.
        needed: each distinct prompt once, each distinct response once, no padding.
    """

    peer: float
    ours: float
    needed: float

    @property
    def limit(self) -> float:
        """Ratio of the peer's work to that which is needed; a peer that does more besides can be beaten by more."""
        return self.peer / self.needed

    def closeness(self, threads: int, ratio: float) -> dict[str, Any]:
        """State how much of the limit a measured ratio reaches, and what the rest is."""
        expected, surplus = self.peer / self.ours, self.ours / self.needed - 1
        beside = ratio / expected
        rest = (
            f"we compute {100 * surplus:.0f} % more than is needed (padding, prompts of split trees); the work of both "
            f"sides is {expected:.2f} to 1, and the time {ratio:.2f} to 1: "
        )
        if beside >= 1:
            rest += f"the peer takes {beside:.2f} times as long as we for equal work"
        else:
            rest += f"we take {1 / beside:.2f} times as long as the peer for equal work, such as attention in long rows"
        return {
            "threads": threads,
            "share_of_limit": round(ratio / self.limit, 3),
            "ratio_of_work": round(expected, 2),
            "surplus": round(surplus, 3),
            "rest": rest,
        }


Sides = tuple[Callable[[], Any], Callable[[], Any]]


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: also the name of the result file.
        work: what is done, in words.
        peer: distribution name of the peer.
        settings: the peer's settings, in words.
        reach: ratio to reach.
        counts: counts the work of both sides, and that which is needed; see `Counts`.
        limit_reason: what is counted.
        prepare: builds ``(ours, peer)``.
        skip: says why the row cannot be measured here, or None.
        memory: builds ours and builds the peer, where peak memory is to be compared.
        extra: gives more for the result file. figures: the same from what was measured and the device's name.
        runs: alternating runs. warm_up: one of each before, which is not counted.
    """

    name: str
    work: str
    peer: str
    settings: str
    prepare: Callable[[], Sides]
    reach: float
    counts: Callable[[], Counts] | None = None
    limit_reason: str = ""
    skip: Callable[[], str | None] = lambda: None
    runs: int = 3
    warm_up: bool = True
    threads: tuple[int, ...] = (1, 2)
    memory: tuple[Callable[[], Callable[[], Any]], Callable[[], Callable[[], Any]]] | None = None
    extra: Callable[[], dict[str, Any]] = field(default=dict)
    figures: Callable[[list[dict[str, Any]], str], dict[str, Any]] = lambda measured, device: {}


def version_of(peer: str) -> str:
    """Version of a distribution, or of the interpreter where that is the peer."""
    return platform.python_version() if peer == "python" else version(peer)


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


def run(row: Row, numbers: Sequence[int] | None = None, times: bool = True, memory: bool = True) -> dict[str, Any]:
    """Measure a row, and write and return its result; what is not measured now stays as it was measured before.

    Args:
        row: to measure.
        numbers: of threads, all of the row's unless said.
        times: whether to measure times. memory: whether to measure memory.
    """
    path = RESULTS / f"{row.name}.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if before.get("work") != row.work or before.get("torch") != torch.__version__:
        before = {}
    numbers = (row.threads if numbers is None else numbers) if times else ()
    measured = [one for one in before.get("measured", ()) if one["threads"] not in numbers]
    for number in numbers:
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
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    measured.sort(key=lambda one: one["threads"])
    counts = row.counts() if row.counts else None
    result = {
        "row": row.name,
        "work": row.work,
        "peer": f"{row.peer} {version_of(row.peer)}, {row.settings}",
        "reach": row.reach,
        "limit": round(counts.limit, 2) if counts else None,
        "limit_reason": row.limit_reason,
        "closeness": [counts.closeness(one["threads"], one["ratio"]["median"]) for one in measured] if counts else [],
        "device": device,
        "torch": torch.__version__,
        "measured": measured,
        "command": f"python -m scripts.bench {row.name}",
        "peak_mib": peaks(row) if row.memory and memory else before.get("peak_mib"),
        **row.extra(),
        **row.figures(measured, device),
    }
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def peaks(row: Row) -> dict[str, float]:
    """Peak resident MiB of one run of each side, each in a process of its own, over what building it took."""
    found = {}
    for side in ("ours", "peer"):
        command = [sys.executable, "-m", "scripts.bench.memory", row.name, side]
        output = subprocess.run(command, check=True, capture_output=True, text=True, cwd=RESULTS.parents[2]).stdout
        found[side] = float(output.splitlines()[-1])
    return found
