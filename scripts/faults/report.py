"""The kept figures, as they are printed and as they stand in ``docs/reliability.md``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from scripts.faults.figure import Figure

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- figures: written by python -m scripts.faults -->", "<!-- end of figures -->"


def keep(name: str, seed: int, seconds: float, figures: Sequence[Figure]) -> None:
    """Store an experiment's figures."""
    stored = {
        "name": name,
        "command": f"python -m scripts.faults {name} --seed {seed}",
        "seconds": round(seconds, 1),
        "figures": [asdict(figure) for figure in figures],
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(stored, indent=2) + "\n", encoding="utf-8")


def kept(names: Sequence[str] | None = None) -> Iterator[tuple[str, float, list[Figure]]]:
    """Yield name, seconds and figures of the experiments that were run, or of those named, by name."""
    for file in sorted(RESULTS.glob("*.json")):
        if names is None or file.stem in names:
            found = json.loads(file.read_text(encoding="utf-8"))
            yield found["name"], found["seconds"], [Figure(**one) for one in found["figures"]]


def table(found: Sequence[tuple[str, float, list[Figure]]]) -> Table:
    """Return what is printed: an experiment a section, its name and seconds once."""
    shown = Table(title="Broken on purpose", title_justify="left")
    shown.add_column("experiment", no_wrap=True)
    shown.add_column("what was tried")
    for heading in ("times", "held", "lost"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for name, seconds, figures in found:
        for place, figure in enumerate(figures):
            label = "" if place else f"{name}\n[dim]{seconds:,.0f} s[/dim]"
            tried = Group(figure.name, *([Padding(Text(figure.note, "dim"), (0, 0, 0, 2))] if figure.note else []))
            numbers = (f"{value:,}" for value in (figure.tried, figure.held, figure.lost))
            shown.add_row(label, tried, *numbers, style="" if figure.kept else "bold red")
        shown.add_section()
    return shown


def summary(found: Sequence[tuple[str, float, list[Figure]]]) -> str:
    """Return the last line: how much was tried, and what was lost."""
    figures = [figure for _, _, some in found for figure in some]
    tried, held = sum(one.tried for one in figures), sum(one.held for one in figures)
    lost = sum(one.lost for one in figures)
    return f"{tried:,} faults, requests and steps in {len(found)} experiments; {held:,} held, {lost:,} lost"


def page_table(found: Sequence[tuple[str, float, list[Figure]]]) -> str:
    """Return the table of the page."""
    lines = ["| what was tried | times | held | lost |", "| --- | ---: | ---: | ---: |"]
    for name, _, figures in found:
        lines += [
            f"| {figure.name} (`{name}`) | {figure.tried:,} | {figure.held:,} | {figure.lost:,} |" for figure in figures
        ]
    return "\n".join([*lines, "", f"{summary(found)}."])


def on_page() -> str:
    """Return what stands on the page between the marks."""
    text = PAGE.read_text(encoding="utf-8")
    return text.split(BEGIN)[1].split(END)[0].strip() if BEGIN in text and END in text else ""


def write_page() -> None:
    """Put the kept figures on the page, between the marks."""
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n\n{page_table(list(kept()))}\n\n{END}{after}", encoding="utf-8")
