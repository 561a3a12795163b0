"""One recipe on a page of the terminal."""

from __future__ import annotations

import re
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

SOURCES = {
    "A": "the paper's equations or the authors' code",
    "B": "reviews or re-implementations of the paper",
    "C": "the paper, partly reconstructed",
}


def print_page(facts: dict[str, Any]) -> None:
    """Print title, composition, formulas, needs, settings, claim and citation."""
    console = Console(highlight=False)
    paper = f"arXiv {facts['arxiv']}, {facts['year']}" if facts["arxiv"] else str(facts["year"] or "")
    aliases = f"  (also: {', '.join(facts['aliases'])})" if facts["aliases"] else ""
    console.print(f"[bold]{facts['name']}[/bold]{aliases}: {escape(facts['summary'])}")
    console.print(f"[dim]{escape(facts['title'])}{', ' if paper else ''}{paper}. Kind: {facts['kind']}.[/dim]\n")
    _print_composition(console, facts)
    _print_formulas(console, facts)
    if facts["objective"] or facts["needs"]:
        _print_needs(console, facts["needs"])
    _heading(console, "Settings")
    settings = ", ".join(f"{name}={value!r}" for name, value in facts["settings"].items())
    _paragraph(console, escape(settings or "none of its own; every slot can be replaced by name"))
    if facts["claim"]:
        _heading(console, "Claim of the paper")
        _paragraph(console, f"{escape(facts['claim'])} [dim](formulas from {SOURCES[facts['confidence']]})[/dim]")
        _print_status(console, facts["claim_status"])
    if facts["cite"]:
        _heading(console, "Citation")
        console.print(facts["cite"], markup=False, soft_wrap=True)


def _print_composition(console: Console, facts: dict[str, Any]) -> None:
    _heading(console, "Composition")
    table = Table.grid(padding=(0, 2))
    for part in facts["composition"]:
        settings = ", ".join(f"{name}={value!r}" for name, value in part["settings"].items())
        mark = "[bold]*[/bold]" if part["own"] and not facts["baseline"] else " "
        table.add_row(f" {mark} {part['slot']}", f"{part['part']}({escape(settings)})", escape(part["summary"]))
    console.print(table)
    if not facts["objective"]:
        console.print()
        return
    notes = ["the baseline of its kind" if facts["baseline"] else "* differs from the baseline of its kind"]
    notes += [f"empty: {', '.join(facts['empty_slots'])}"] if facts["empty_slots"] else []
    _paragraph(console, f"[dim]{'; '.join(notes)}[/dim]")


def _print_formulas(console: Console, facts: dict[str, Any]) -> None:
    _heading(console, "Formulas")
    for part in facts["composition"]:
        name = f"{part['slot']}: {part['part']}" if part["slot"] else part["part"]
        console.print(f"  [bold]{name}[/bold]")
        _paragraph(console, _formatted(part["formula"]), indent=4)


def _print_needs(console: Console, needs: list[dict[str, str]]) -> None:
    _heading(console, "Needs")
    if not needs:
        _paragraph(console, "nothing beyond mask, rewards and log-probabilities: no reference model, no extra pass")
        return
    table = Table.grid(padding=(0, 2))
    for need in needs:
        cost = f"[dim]{escape(need['cost'])}[/dim]" if need["cost"] else ""
        table.add_row(f"  {need['name']}", escape(need["shape"]), escape(need["meaning"]), cost)
    console.print(table)
    console.print()


def _print_status(console: Console, status: dict[str, Any]) -> None:
    """Print what an experiment found; nothing where none was made."""
    if "numbers" not in status:
        return
    console.print(f"  Tried on a small problem: [bold]{status['verdict']}[/bold]")
    _paragraph(console, f"{escape(status['claim'])} [dim]Rule: {escape(status['rule'])}[/dim]")
    table = Table.grid(padding=(0, 2))
    for name, number in status["numbers"].items():
        ends = "" if number["low"] is None else f"[dim]{number['low']:.4g} to {number['high']:.4g}[/dim]"
        table.add_row(f"    {escape(name)}", f"{number['mean']:.4g}", ends)
    console.print(table)
    _paragraph(console, f"[dim]{status['seeds']} seeds, 95 % intervals; {escape(status['command'])}[/dim]", indent=4)


def _formatted(text: str) -> str:
    """Join the lines of each paragraph and colour ````` spans; indented blocks keep their lines."""
    paragraphs = []
    for paragraph in re.split(r"\n\s*\n", text):
        keep = any(line.startswith("    ") for line in paragraph.splitlines())
        joined = paragraph if keep else " ".join(line.strip() for line in paragraph.splitlines())
        paragraphs.append(re.sub(r"``(.+?)``", r"[cyan]\1[/cyan]", escape(joined)))
    return "\n".join(paragraphs)


def _heading(console: Console, words: str) -> None:
    console.print(f"[bold underline]{words}[/bold underline]")


def _paragraph(console: Console, words: str, indent: int = 2) -> None:
    console.print(Padding(words, (0, 0, 1, indent)))
