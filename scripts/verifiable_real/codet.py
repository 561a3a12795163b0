"""16,400 programs of a code model, each against the check of its own problem, beside a plain interpreter."""

from __future__ import annotations

import math
import os
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console

from reward_models.verifiable import UnitTests
from reward_models.verifiable.unit_tests import Judged
from scripts.verifiable_real.plain import run_plainly
from scripts.verifiable_real.programs import Problem, cut, problems, written

SECONDS, PLAIN_SECONDS = 3.0, 6.0


def measure(problem_count: int | None = None) -> dict[str, Any]:
    """Run the corpus as it stands, then cut to the function, as a sample is usually scored."""
    chosen = problems()[:problem_count]
    samples = written()[: len(chosen)]
    before, verifier = _footprint(), UnitTests(timeout=SECONDS, suite_timeout=2 * SECONDS)
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
    programs = sum(map(len, samples))
    plain = _plain(chosen, samples, judged)
    shortened = [_judge(verifier, p, [cut(one) for one in rows]) for p, rows in zip(chosen, samples, strict=True)]
    return {
        "tier": verifier.sandbox.tier,
        "programs": programs,
        "different_programs": sum(len(set(rows)) for rows in samples),
        "seconds": seconds,
        "statuses": dict(Counter(one.execution.status for rows in judged for one in rows if one.execution)),
        "unscored": sum(one.score is None for rows in judged for one in rows),
        "files_written_outside": left,
        "leaked": leaked,
        "as_they_are": _passes(judged),
        "cut_to_the_function": _passes(shortened),
        "plain": plain,
    }


def pass_at(k: int, passed: int, total: int) -> float:
    """``1 - C(n - c, k) / C(n, k)``: chance that one of k drawn without replacement passes (arXiv 2107.03374)."""
    return 1 - math.comb(total - passed, k) / math.comb(total, k)


def _judge(verifier: UnitTests, problem: Problem, completions: list[str]) -> list[Judged]:
    count = len(completions)
    return verifier.judge(completions, [problem.tests] * count, [problem.prefix] * count)


def _passes(judged: list[list[Judged]]) -> dict[str, float]:
    counts = [(sum(one.score == 1 for one in rows), len(rows)) for rows in judged]
    return {f"pass@{k}": sum(pass_at(k, *one) for one in counts) / len(counts) for k in (1, 10, 100)}


def _plain(chosen: tuple[Problem, ...], samples: Any, judged: list[list[Judged]]) -> dict[str, Any]:
    rows = [
        (problem, number, f"{problem.prefix}{completion}\n{problem.check}\ncheck({problem.entry_point})\n", one)
        for problem, completions, verdicts in zip(chosen, samples, judged, strict=True)
        for number, (completion, one) in enumerate(zip(completions, verdicts, strict=True))
    ]
    plain = run_plainly([program for _, _, program, _ in rows], PLAIN_SECONDS)
    differing = [
        {
            "problem": problem.name,
            "sample": number,
            "plain": verdict,
            "ours": one.score,
            "status": one.execution.status if one.execution else "",
            "reason": one.reason[:200],
        }
        for (problem, number, _, one), verdict in zip(rows, plain, strict=True)
        if verdict is not None and one.score != float(verdict)
    ]
    ended = sum(verdict is not None for verdict in plain)
    return {
        "ended_normally": ended,
        "agree": ended - len(differing),
        "disagreements": differing,
        "passed_by_us_where_plain_did_not_end": sum(
            one.score == 1 for (*_, one), verdict in zip(rows, plain, strict=True) if verdict is None
        ),
    }


def _footprint(verifier: UnitTests | None = None) -> dict[str, int]:
    """Open descriptors, living threads and child processes; the sandbox's own end with it."""
    if verifier is not None:
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


if __name__ == "__main__":
    Console().print(measure(4))
