"""What a plain interpreter says of a program and its tests, each in a process that is thrown away afterwards.

The process is the ordinary one that people grade with: program, tests, the call, exit status 0 is a pass. Like the
sandbox it has the standard library only. So that programs that nobody has read do no harm, bubblewrap stands around
it: nothing to write to, no network.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from reward_models.verifiable import UnitTests
from scripts.verifiable_real.programs import problems, written

WALL = ("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp")
CONFINED = ("bwrap", *WALL, "--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--")
LIMITED = ("bash", "-c", 'ulimit -v 4194304; ulimit -c 0; exec "$@"', "limited")


SECONDS = 6.0
MEANING = {"1": True, "0": False, "-": None}


def measure(codet: dict[str, Any]) -> dict[str, Any]:
    """Run the corpus plainly, and compare with the verdicts of ``codet``; list whatever differs.

    Each that differs is judged once more, with a deadline ten times as long: on a busy machine a slow program may miss
    one deadline and not the other.
    """
    rows = [
        (problem, number, f"{problem.prefix}{completion}\n{problem.check}\ncheck({problem.entry_point})\n", ours)
        for problem, completions in zip(problems(), written(), strict=True)
        if problem.name in codet["verdicts"]
        for number, (completion, ours) in enumerate(zip(completions, codet["verdicts"][problem.name], strict=True))
    ]
    plain = run_plainly([program for _, _, program, _ in rows], SECONDS)
    differing = [
        {"problem": problem.name, "sample": number, "plain": verdict, "ours": MEANING[ours]}
        for (problem, number, _, ours), verdict in zip(rows, plain, strict=True)
        if verdict is not None and MEANING[ours] is not verdict
    ]
    patient = UnitTests(timeout=10 * SECONDS, suite_timeout=10 * SECONDS)
    by_name = {problem.name: (problem, completions) for problem, completions in zip(problems(), written(), strict=True)}
    for one in differing:
        problem, completions = by_name[one["problem"]]
        again = patient.judge([completions[one["sample"]]], [problem.tests], [problem.prefix])[0]
        one |= {"ours_with_time": None if again.score is None else bool(again.score), "reason": again.reason[:200]}
    ended = sum(verdict is not None for verdict in plain)
    return {
        "programs": len(rows),
        "ended_normally": ended,
        "agree": ended - len(differing),
        "agree_with_time": ended - sum(one["ours_with_time"] is not one["plain"] for one in differing),
        "disagreements": differing,
        "passed_by_us_where_plain_did_not_end": sum(
            ours == "1" for (*_, ours), verdict in zip(rows, plain, strict=True) if verdict is None
        ),
    }


def run_plainly(programs: list[str], seconds: float) -> list[bool | None]:
    """Return for each whether it ended with status 0; None where it did not end normally (deadline, signal).

    Equal programs are run once.
    """
    if not shutil.which("bwrap"):
        raise SystemExit("install bubblewrap: programs that nobody has read are not run without walls around them")
    different = list(dict.fromkeys(programs))
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        verdicts = dict(zip(different, pool.map(lambda one: _run(one, seconds), different), strict=True))
    return [verdicts[program] for program in programs]


def _run(program: str, seconds: float) -> bool | None:
    command = [*LIMITED, *CONFINED, sys._base_executable, "-I", "-S", "-c", program]  # type: ignore[attr-defined]
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, cwd="/", start_new_session=True, **quiet)  # type: ignore[call-overload]
    try:
        status = process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        process.kill()
        process.wait()
    # bubblewrap gives a signal as 128 + its number.
    return None if status < 0 or status > 128 else bool(status == 0)
