"""Scoring a file, killed at any line of its code, on a disk that fills up, with a store that is torn.

A run is forked from a process that has torch loaded, so that a kill costs a tenth of a second. It ends itself with
signal 9 at the n-th line that it executes of the code that reads, scores, keeps, joins or writes; n is drawn by seed.
Then the same call is made again, and its output compared, byte for byte, with that of a run that nothing happened to.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from reward_models.errors import DataError, ModelError
from reward_models.scoring import Part, ScoringReport, join_parts, score_file, score_part
from reward_models.scoring import processes as score_processes
from reward_models.scoring import store as score_store
from scripts.faults.figure import Figure
from scripts.faults.scoring_world import CASES, Case, World, build, rows_of
from scripts.faults.small_disk import small_disk

PHASES = {
    "while reading": ("scoring/input.py", "data/files.py", "scoring/rows.py"),
    "while scoring": ("scoring/shard.py", "reward_models/batching.py"),
    "while keeping": ("scoring/store.py", "scoring/records.py", "scoring/lock.py", "scoring/resume.py"),
    "while joining and writing": ("scoring/join.py", "scoring/output.py", "scoring/parts.py"),
}
MEMORY = Path("/dev/shm")
KILLS = 12
TEARS = 24
# KiB: of the first ones the store has no room, of the others the output.
SIZES = (16, 24, 40, 56, 72, 80, 96, 128)


@dataclass(frozen=True)
class Loss:
    """What became of the rows: lost, doubled, and whether the output is the same to the byte."""

    lost: int
    doubled: int
    same: bool


def inject(seed: int) -> list[Figure]:
    """Kill, tear and fill; see the module."""
    chance = random.Random(seed)
    # A kill takes nothing from memory that the kernel was given: a disk in memory shows the same, sooner.
    with tempfile.TemporaryDirectory(prefix="prefopt-scoring-", dir=MEMORY if MEMORY.is_dir() else None) as folder:
        world, longer = build(Path(folder) / "short"), build(Path(folder) / "longer", 400)
        return [
            *_kills(world, chance, KILLS),
            _supervised(world, chance, 6),
            _tears(longer, chance, TEARS),
            _full(longer, SIZES),
        ]


def in_child(
    work: Callable[[], Any], count: Sequence[str] = (), kill_at: int | None = None, after: float = 0.0
) -> tuple[int, int]:
    """Run in a fork; return its status (negative: the signal that ended it), and how many lines it executed.

    Args:
        work: what to do. count: files whose lines count. kill_at: the line at which the fork kills itself.
        after: seconds after which the kernel ends it, wherever it is, inside of SQLite, too; 0 = never.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        with suppress(BaseException):
            lines = _Lines(count, kill_at)
            # Nothing handles this signal, so that it ends a process as signal 9 does.
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, after)
            sys.settrace(lines)
            try:
                work()
                status = 0
            except (DataError, ModelError) as error:
                print(error, file=sys.stderr)
                status = 2
            finally:
                sys.settrace(None)
            os.write(writer, str(lines.seen).encode())
            os._exit(status)
        os._exit(1)
    os.close(writer)
    with os.fdopen(reader) as said:
        seen = said.read()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), int(seen or 0)


class _Lines:
    """Counts the lines that are executed in some files, and kills the process at one of them."""

    def __init__(self, files: Sequence[str], kill_at: int | None) -> None:
        self.endings, self.kill_at, self.seen = tuple(files), kill_at, 0

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        ours = "reward_models" in frame.f_code.co_filename and frame.f_code.co_filename.endswith(self.endings)
        return self._line if ours else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            self.seen += 1
            if self.seen == self.kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
        return self._line


def lines_of(world: World, case: Case, files: Sequence[str]) -> int:
    """How many lines of some files a whole run executes."""
    output = world.fresh(case)
    return in_child(lambda: run(world, case, output), files)[1]


def _seconds(world: World, case: Case) -> float:
    begin = time.perf_counter()
    run(world, case, world.fresh(case))
    return time.perf_counter() - begin


def run(world: World, case: Case, output: Path) -> ScoringReport:
    """One attempt: a process for each part where there are several, each in its turn, and the join."""
    model, source = world.model(case), world.source(case)
    # Keep scores at once: a run of a tenth of a second would have nothing to go on from.
    score_store.SECONDS_TO_KEEP = 0.0
    if case.workers == 1:
        return score_file(model, source, output, case.settings)
    reports = [score_part(model, source, output, case.settings, part=Part(i, case.workers)) for i in (1, 2)]
    return join_parts(source, output, case.workers, reports)


def loss(world: World, case: Case, output: Path) -> Loss:
    """Compare an output with the one that there must be."""
    expected = world.expected(case)
    ids = Counter(row["id"] for row in rows_of(output)) if output.exists() else Counter()
    lost = sum(row["id"] not in ids for row in rows_of(expected))
    same = output.exists() and output.read_bytes() == expected.read_bytes()
    return Loss(lost, sum(count - 1 for count in ids.values()), same)


def kill_once(
    world: World, case: Case, files: Sequence[str] = (), at: int | None = None, after: float = 0.0
) -> tuple[bool, Loss]:
    """Kill a run at a line or a moment, and make the same call again; whether it was killed, and what was lost."""
    folder = Path(tempfile.mkdtemp(dir=world.folder))
    output = folder / f"out{case.output}"
    status, _ = in_child(lambda: run(world, case, output), files, at, after)
    run(world, case, output)
    found = loss(world, case, output)
    # A name that only the killed attempt could have made would fill disks over time.
    clean = sorted(path.name for path in folder.iterdir()) == [output.name]
    shutil.rmtree(folder)
    return status < 0, Loss(found.lost, found.doubled, found.same and clean)


def _kills(world: World, chance: random.Random, each: int) -> list[Figure]:
    figures = []
    for workers in (1, 2):
        cases = [case for case in CASES if case.workers == workers]
        duration = min(_seconds(world, case) for case in cases)
        found: list[Loss] = []
        phases: Counter[str] = Counter()
        for phase, files in PHASES.items():
            for number in range(each):
                case = cases[number % len(cases)]
                lines = lines_of(world, case, files)
                killed, one = kill_once(world, case, files, chance.randint(1, lines))
                if killed:
                    phases[phase] += 1
                    found.append(one)
        for number in range(each):
            killed, one = kill_once(world, cases[number % len(cases)], after=chance.uniform(0.001, duration))
            if killed:
                phases["at any instant"] += 1
                found.append(one)
        name = "one process" if workers == 1 else "a process of two"
        note = "; ".join(f"{count} {phase}" for phase, count in phases.items())
        held = sum(one.same for one in found)
        lost = sum(one.lost + one.doubled for one in found)
        figures.append(Figure(f"{name} that scores a file killed, and run again", len(found), held, lost, note))
    return figures


def _supervised(world: World, chance: random.Random, times: int) -> Figure:
    """Kill a worker of two at a random moment: its parent must notice, begin it again, and come to the end."""
    case = next(case for case in CASES if case.workers == 2)
    held = lost = 0
    for _ in range(times):
        output = world.fresh(case)
        status = in_child(lambda at=chance.uniform(0.0, 0.5), output=output: supervised(world, case, output, at))[0]
        found = loss(world, case, output)
        held += status == 0 and found.same
        lost += found.lost + found.doubled
    return Figure("worker processes killed under a parent that goes on", times, held, lost)


def supervised(world: World, case: Case, output: Path, after: float, restarts: int = 1, hang: bool = False) -> None:
    """Score in two processes of which the first is killed, or stopped for good, ``after`` seconds."""
    import multiprocessing
    import threading

    score_store.SECONDS_TO_KEEP = 0.0
    # Forks, that need not load torch again.
    score_processes.get_context = lambda method: multiprocessing.get_context("fork")  # type: ignore[assignment]

    def strike() -> None:
        until = time.monotonic() + 10
        while not (children := multiprocessing.active_children()) and time.monotonic() < until:
            time.sleep(0.001)
        time.sleep(after)
        with suppress(ProcessLookupError):
            os.kill(children[0].pid or 0, signal.SIGSTOP if hang else signal.SIGKILL)

    threading.Thread(target=strike, daemon=True).start()
    patience = score_processes.Patience(1.0 if hang else 60.0, restarts)
    score_processes.score_in_processes(
        world.models["plain"], world.source(case), output, 2, case.settings, "cpu", patience=patience
    )


def tear(path: Path, chance: random.Random) -> str:
    """Damage a store's file: a bit turned, the end cut off, or a page of zeros."""
    content = bytearray(path.read_bytes())
    kind = chance.choice(("bit", "cut", "page"))
    # The first bytes say that the file is one of ours; without them it is refused, not mended.
    where = chance.randrange(100, len(content))
    if kind == "bit":
        content[where] ^= 1 << chance.randrange(8)
    elif kind == "cut":
        del content[where:]
    else:
        begin = max(4096, where - where % 4096)
        content[begin : begin + 4096] = bytes(len(content[begin : begin + 4096]))
    path.write_bytes(content)
    return kind


def scored_part(world: World, case: Case, output: Path) -> Path:
    """Score a file up to where the output would be written."""
    score_part(world.model(case), world.source(case), output, case.settings)
    return Part().path(output)


def _tears(world: World, chance: random.Random, times: int) -> Figure:
    case = CASES[0]
    whole = run(world, case, world.fresh(case)).scored
    held = lost = fewer = noticed = 0
    kinds: Counter[str] = Counter()
    for _ in range(times):
        output = world.fresh(case)
        kinds[tear(scored_part(world, case, output), chance)] += 1
        report = run(world, case, output)
        found = loss(world, case, output)
        held += found.same
        lost += found.lost + found.doubled
        noticed += report.damaged > 0
        fewer += report.scored < whole
    note = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    note += f"; {noticed} times scores were lost and said so, else none was hit; {fewer} times some could be kept"
    return Figure("kept scores damaged: a bit turned, the end cut, a page zeroed", times, held, lost, note)


def _full(world: World, sizes: Sequence[int]) -> Figure:
    """Disks of several sizes: the first attempt must end with a message, the second, with room, come to the end."""
    held = lost = 0
    places: Counter[str] = Counter()
    for number, size in enumerate(sizes):
        case = CASES[number % len(CASES)]
        with small_disk(world.folder, size) as disk:
            if disk is None:
                return Figure("disks that were full", 0, 0, 0, "no small file system could be made here")
            output = disk.path / f"out{case.output}"
            refused = refusal(world, case, output)
            places["output" if refused.startswith(f"{output}:") else "store"] += 1
            told = all(words in refused for words in ("the disk is full", "MiB are free", "run the same command again"))
            disk.grow()
            run(world, case, output)
            found = loss(world, case, output)
            held += told and found.same
            lost += found.lost + found.doubled
    note = ", ".join(f"{count} while the {place} was written" for place, count in places.items())
    return Figure("disks that were full, and had room later", len(sizes), held, lost, note)


def refusal(world: World, case: Case, output: Path) -> str:
    """What a run says that does not come to its end."""
    try:
        run(world, case, output)
    except (DataError, ModelError) as error:
        return str(error)
    return ""
