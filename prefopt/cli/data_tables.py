"""The tables of ``prefopt check-data``: one column a source, then leaks, bad rows and the quarantine file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from reward_models.data import Leak, Report

SHOWN = 5
NOUNS = {
    "preferences": "pairs",
    "unpaired": "labelled answers",
    "prompts": "prompts",
    "solutions": "solutions in steps",
    "logged": "logged answers",
    "texts": "scored texts",
    "samples": "samples of policies",
    "ratings": "rated answers",
}


def print_findings(reports: Sequence[Report], leaks: Sequence[Leak]) -> None:
    """Everything, on standard output."""
    console = Console(highlight=False)
    console.print(_overview(reports))
    _print_warnings(console, reports, leaks)
    _print_bad_rows(console, reports)


def _overview(reports: Sequence[Report]) -> Table:
    table = Table(title="Data check", title_justify="left", title_style="bold")
    table.add_column("")
    for report in reports:
        table.add_column(Path(report.source).name, justify="right" if len(reports) > 1 else "left", overflow="fold")
    for name, cells in _rows(reports):
        table.add_row(name, *cells)
    return table


def _rows(reports: Sequence[Report]) -> list[tuple[str, list[Text]]]:
    rows = [
        ("shape", [_cell(r.shape or "not recognised", "red" if r.shape is None else "") for r in reports]),
        ("rows", [_cell(f"{r.rows:,}") for r in reports]),
        ("holds", [_cell(f"{r.examples:,} {NOUNS[r.kind]}") for r in reports]),
    ]
    counts = {
        "ties": [r.ties for r in reports],
        "prompts without a pair": [r.without_pairs for r in reports],
        "answers without words": [r.silent for r in reports],
    }
    rows += [(name, [_cell(f"{v:,}") for v in values]) for name, values in counts.items() if any(values)]
    if any(r.ties for r in reports):
        kept = ["kept as label 0.5" if r.ties_kept else "dropped" for r in reports]
        rows = [
            (n, [_cell(f"{c} {k}") for c, k in zip(cells, kept, strict=True)] if n == "ties" else cells)
            for n, cells in rows
        ]
    rows += [
        ("duplicates", [_count(r.duplicates, "yellow") for r in reports]),
        ("contradictions", [_count(r.contradictions, "yellow") for r in reports]),
        ("bad rows", [_count(r.bad_count, "red") for r in reports]),
    ]
    reasons = dict.fromkeys(reason for r in reports for reason in r.bad)
    rows += [(f"  {reason}", [_count(r.bad.get(reason, 0), "red") for r in reports]) for reason in reasons]
    fields = dict.fromkeys(name for r in reports for name in r.lengths)
    rows += [("lengths in", [_cell(r.unit) for r in reports])] if fields else []
    return rows + [(f"  {name}, median / 95% / max", [_length(r, name) for r in reports]) for name in fields]


def _cell(text: str, style: str = "") -> Text:
    return Text(text, style=style)


def _count(value: int, style: str) -> Text:
    return Text(f"{value:,}", style=style if value else "green")


def _length(report: Report, name: str) -> Text:
    if name not in report.lengths:
        return Text("")
    lengths = report.lengths[name]
    return Text(f"{lengths.median:,.0f} / {lengths.p95:,.0f} / {lengths.maximum:,}")


def _print_warnings(console: Console, reports: Sequence[Report], leaks: Sequence[Leak]) -> None:
    for leak in leaks:
        names = f"{Path(leak.first).name} and {Path(leak.second).name}"
        message = f"Leak between {names}: prompts in both {leak.prompts:,}, examples of the second {leak.examples:,}."
        console.print(message, style="yellow", markup=False)
    if len(reports) > 1 and not leaks:
        console.print("No prompt occurs in more than one of the sources.", style="green")
    for report in reports:
        for warning in report.warnings[:SHOWN]:
            console.print(f"{Path(report.source).name}: {warning}.", style="yellow", markup=False)
        more = report.duplicates + report.contradictions - SHOWN
        if more > 0:
            console.print(f"{Path(report.source).name}: and {more:,} more such rows.", style="yellow", markup=False)


def _print_bad_rows(console: Console, reports: Sequence[Report]) -> None:
    from reward_models.data import REASONS

    for report in reports:
        for row in report.bad_rows[:SHOWN]:
            console.print(f"{Path(row.source).name}, row {row.row_number}: {row.field}: {row.detail}", markup=False)
        if report.bad_count > SHOWN:
            console.print(f"{Path(report.source).name}: and {report.bad_count - SHOWN:,} more bad rows.", markup=False)
    for reason in dict.fromkeys(reason for report in reports for reason in report.bad):
        console.print(f"{reason}: {REASONS[reason]}.", style="dim", markup=False)
    written = next((report.quarantine for report in reports if report.quarantine), None)
    if written:
        console.print(f"Bad rows, each with row number, field and reason: {written}", style="bold", markup=False)
