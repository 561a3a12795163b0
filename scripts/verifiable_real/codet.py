"""16,400 programs of a code model, each against the check of its own problem."""

from __future__ import annotations

import math
import os
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from reward_models.verifiable import UnitTests
from reward_models.verifiable.unit_tests import Judged
from scripts.verifiable_real.programs import Problem, cut, problems, written

SECONDS = 3.0


def measure(problem_count: int | None = None) -> dict[str, Any]:
    """Run the corpus as it stands, then cut to the function, as a sample is usually scored."""
    chosen = problems()[:problem_count]
    samples = written()[: len(chosen)]
    verifier = UnitTests(timeout=SECONDS, suite_timeout=2 * SECONDS)
    before = _footprint(verifier)
    with tempfile.TemporaryDirectory(prefix="canary-") as folder:
        here = os.getcwd()
        os.chdir(folder)
        try:
            start = time.perf_counter()
            judged = [_judge(verifier, problem, list(rows)) for problem, rows in zip(chosen, samples, strict=True)]
            seconds = time.perf_counter() - start
            left = [path.name for path in Path(folder).iterdir()]
        finally:
            os.chdir(here)
    leaked = {name: after - before[name] for name, after in _footprint(verifier).items()}
    shortened = [_judge(verifier, p, [cut(one) for one in rows]) for p, rows in zip(chosen, samples, strict=True)]
    return {
        "tier": verifier.sandbox.tier,
        "programs": sum(map(len, samples)),
        "different_programs": sum(len(set(rows)) for rows in samples),
        "seconds": seconds,
        "statuses": dict(Counter(one.execution.status for rows in judged for one in rows if one.execution)),
        "unscored": {
            f"{problem.name}, sample {number}": one.reason
            for problem, rows in zip(chosen, judged, strict=True)
            for number, one in enumerate(rows)
            if one.score is None
        },
        "files_written_outside": left,
        "leaked": leaked,
        "as_they_are": _passes(judged),
        "cut_to_the_function": _passes(shortened),
        "verdicts": {p.name: "".join(map(_sign, rows)) for p, rows in zip(chosen, judged, strict=True)},
    }


def pass_at(k: int, passed: int, total: int) -> float:
    """``1 - C(n - c, k) / C(n, k)``: chance that one of k drawn without replacement passes (arXiv 2107.03374)."""
    return 1 - math.comb(total - passed, k) / math.comb(total, k)


def _sign(one: Judged) -> str:
    return "-" if one.score is None else str(int(one.score))


def _judge(verifier: UnitTests, problem: Problem, completions: list[str]) -> list[Judged]:
    count = len(completions)
    return verifier.judge(completions, [problem.tests] * count, [problem.prefix] * count)


def _passes(judged: list[list[Judged]]) -> dict[str, float]:
    counts = [(sum(one.score == 1 for one in rows), len(rows)) for rows in judged]
    return {f"pass@{k}": sum(pass_at(k, *one) for one in counts) / len(counts) for k in (1, 10, 100)}


def _footprint(verifier: UnitTests) -> dict[str, int]:
    """Open descriptors, living threads and child processes, once the sandbox has ended its own."""
    verifier.sandbox.close()
    mine = str(os.getpid())
    children = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            children += stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1] == mine
        except OSError:
            continue
    descriptors = len(os.listdir("/proc/self/fd"))
    return {"descriptors": descriptors, "threads": threading.active_count(), "children": children}
