"""``prefopt compare``: what broke and what was mended between two sets of results on the same tasks, and a gate."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefopt.errors import UserError, nearest

if TYPE_CHECKING:
    from reward_models.evaluation import Flips, RunStatistics

SHOWN = 10
Results = dict[str, list[float | None]]


@dataclass
class Arguments:
    """Two files of results, and what is refused."""

    before: str = field(metadata={"help": "results of the old policy: .jsonl, .json or .parquet, one row a run"})
    after: str = field(metadata={"help": "results of the new policy on the same tasks"})
    verdict: str = field(default="passed", metadata={"help": "column that says whether a run passed"})
    key: str = field(default="prompt", metadata={"help": "column that names the task; rows with one key are its runs"})
    most_broken: int | None = field(default=None, metadata={"help": "refuse when more tasks broke; unset: no limit"})
    share: float | None = field(default=None, metadata={"help": "refuse when a larger share of the tasks broke"})
    ks: list[int] = field(default_factory=lambda: [1], metadata={"help": "k of pass@k and pass^k"})
    json: str | None = field(default=None, metadata={"help": "also write all numbers to this file"})

    def check(self) -> None:
        """Refuse values out of range."""
        if self.share is not None and not 0 <= self.share <= 1:
            raise UserError(f"share must be between 0 and 1, got {self.share}")
        if not self.ks or min(self.ks) < 1:
            raise UserError(f"ks must be at least 1, got {self.ks}")


def run(argv: list[str]) -> int:
    """Compare and print; exit status 1 where the gate refuses."""
    from prefopt.cli.arguments import parse

    (arguments,) = parse(argv, "compare", Arguments)
    arguments.check()
    from reward_models.evaluation import FlipReport, RepeatedRuns

    before, after = (read(name, arguments.key, arguments.verdict) for name in (arguments.before, arguments.after))
    tasks = [task for task in before if task in after]
    if not tasks:
        raise UserError(f"the files share no value of '{arguments.key}'; name the task's column with --key")
    flips = FlipReport(arguments.most_broken, arguments.share)(
        [majority(before[task]) for task in tasks], [majority(after[task]) for task in tasks]
    )
    statistics = RepeatedRuns(tuple(arguments.ks))
    runs = {name: statistics([part[t] for t in tasks]) for name, part in (("before", before), ("after", after))}
    only = {"before": len(before) - len(tasks), "after": len(after) - len(tasks)}
    if arguments.json:
        from reward_models.whole_files import replace_text

        path = Path(arguments.json)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, json.dumps(record(flips, runs, tasks, only), indent=2) + "\n")
    _print(flips, runs, tasks, only)
    return 0 if flips.accepted else 1


def read(name: str, key: str, verdict: str) -> Results:
    """Return the verdicts of each task's runs, tasks in the order of the file.

    Raises:
        UserError: a row without key or verdict, or a verdict that is neither a number of 0 to 1, true, false nor null.
    """
    from reward_models.data.faults import BadRow
    from reward_models.data.sources import open_source

    found: Results = {}
    for numbered in open_source(name).read():
        number, row = numbered.number, numbered.value
        if isinstance(row, BadRow):
            raise UserError(f"{name}, row {number}: {row.detail}")
        if not isinstance(row, Mapping):
            raise UserError(f"{name}, row {number}: expected an object with fields, found {type(row).__name__}")
        for column in (key, verdict):
            if column not in row:
                raise UserError(f"{name}, row {number}: no column '{column}'.{nearest(column, list(row))}")
        value = row[verdict]
        if value is not None and not (isinstance(value, (bool, int, float)) and 0 <= value <= 1):
            raise UserError(f"{name}, row {number}: {verdict} is {value!r}; it must be true, false or null")
        task = row[key] if isinstance(row[key], str) else json.dumps(row[key], ensure_ascii=False)
        found.setdefault(task, []).append(None if value is None or value != value else float(value >= 0.5))
    return found


def majority(verdicts: list[float | None]) -> bool | None:
    """Return whether at least half of the judged runs passed; None without one."""
    judged = [one for one in verdicts if one is not None]
    return sum(judged) >= len(judged) / 2 if judged else None


def record(
    flips: Flips, runs: Mapping[str, RunStatistics], tasks: list[str], only: Mapping[str, int]
) -> dict[str, Any]:
    """Everything, JSON-ready, tasks by name."""
    named = {name: [tasks[i] for i in getattr(flips, name)] for name in ("broke", "mended", "unjudged")}
    return {
        **asdict(flips),
        **named,
        "runs": {name: asdict(part) for name, part in runs.items()},
        "tasks_in_one_file_only": dict(only),
    }


def _print(flips: Flips, runs: Mapping[str, RunStatistics], tasks: list[str], only: Mapping[str, int]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    table = Table(title="Results on the same tasks", title_justify="left")
    for name in ("", "before", "after"):
        table.add_column(name, justify="right" if name else "left")
    first = next(iter(runs.values()))
    for label, name in (("pass@{}", "pass_at"), ("pass^{}", "pass_all")):
        for k in getattr(first, name):
            if name == "pass_all" and k == 1:
                continue
            cells = [getattr(part, name)[k] for part in runs.values()]
            table.add_row(label.format(k), *(_percent(one) for one in cells))
    table.add_row("tasks, runs", *(f"{part.tasks:,}, {part.samples:,}" for part in runs.values()))
    console.print(table)
    console.print(
        f"{len(flips.broke):,} of {flips.judged:,} tasks broke, {len(flips.mended):,} were mended "
        f"(exact McNemar p = {flips.p_value:.4f})"
    )
    for label, chosen in (("broke", flips.broke), ("mended", flips.mended)):
        for index in chosen[:SHOWN]:
            text = tasks[index].replace("\n", " ")
            console.print(escape(f"  {label}: {text if len(text) <= 90 else text[:87] + '...'}"))
        if len(chosen) > SHOWN:
            console.print(f"  {label}: {len(chosen) - SHOWN:,} more; --json FILE has them all")
    if flips.unjudged:
        console.print(f"{len(flips.unjudged):,} tasks lack a verdict on one side")
    for name, count in only.items():
        if count:
            console.print(f"{count:,} tasks are in the file of {name} only, and were left out")
    console.print("accepted" if flips.accepted else "refused: more tasks broke than the limit allows")


def _percent(one: Any) -> str:
    return f"{100 * one.value:.1f}% ({100 * one.low:.1f} to {100 * one.high:.1f})"
