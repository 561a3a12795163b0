"""``prefopt methods``: the recipes as a table, or one of them on a page of its own."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from prefopt import recipes
from prefopt.cli.arguments import parse
from prefopt.cli.recipe_facts import page, row
from prefopt.recipes.claims import UNTRIED


@dataclass(frozen=True)
class Arguments:
    """What to show."""

    name: str | None = field(default=None, metadata={"help": "One recipe to explain", "positional": True})
    kind: str | None = field(default=None, metadata={"help": "List one kind only: online, offline, weighting, ..."})
    json: bool = field(default=False, metadata={"help": "Print JSON instead of a table"})


def run(argv: list[str]) -> int:
    """List the recipes, or explain one."""
    (arguments,) = parse(argv, "methods", Arguments)
    if arguments.name is not None:
        facts = page(arguments.name)
        if arguments.json:
            print(json.dumps(facts, indent=2))
        else:
            from prefopt.cli.recipe_page import print_page

            print_page(facts)
        return 0
    rows = [row(name) for name in recipes.names(arguments.kind)]
    if arguments.json:
        print(json.dumps(rows, indent=2))
    else:
        _print_rows(rows)
    return 0


def _print_rows(rows: list[dict[str, Any]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=f"{len(rows)} recipes", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
    for heading in ("recipe", "kind", "paper", "claim", "slots of its own", "in one line"):
        table.add_column(heading, no_wrap=heading in ("recipe", "kind", "paper"))
    for one in rows:
        paper = str(one["arxiv"] or one["year"] or "")
        slots = "[dim]the baseline[/dim]" if one["baseline"] else ", ".join(one["slots"])
        tried = "" if one["claim_verdict"] == UNTRIED else str(one["claim_verdict"])
        table.add_row(f"[bold]{one['name']}[/bold]", str(one["kind"]), paper, tried, slots, escape(one["summary"]))
    console = Console()
    console.print(table)
    console.print("`prefopt methods NAME` shows composition, formulas, needs and citation.", markup=False)
