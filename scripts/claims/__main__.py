"""``python -m scripts.claims [RECIPE ...]``: try claims, print figures and verdict, draw the page of all."""

from __future__ import annotations

import argparse
import sys

import torch
from rich.console import Console
from rich.table import Table

from scripts.claims import report, status
from scripts.claims.experiment import Experiment, run, store
from scripts.claims.table import experiments

COLOURS = {"reproduced": "green", "partly": "yellow", "not reproduced": "red"}


def show(result: dict, console: Console) -> None:
    """Print one result."""
    table = Table(
        "figure", "mean", "95 % interval", title=f"{result['recipe']}: {result['claim']}", title_justify="left"
    )
    for name, mean, ends in report.figures(result):
        table.add_row(name, mean, ends)
    console.print(table)
    colour = COLOURS[result["verdict"]]
    console.print(f"[bold {colour}]{result['verdict']}[/]  ({len(result['seeds'])} seeds, {result['seconds']} s)")
    console.print(f"[dim]Rule: {result['rule']}[/dim]\n")


def main(arguments: list[str]) -> int:
    """Run the named experiments, or all."""
    parser = argparse.ArgumentParser(prog="python -m scripts.claims", description=__doc__)
    parser.add_argument("recipes", nargs="*", help="recipes whose claims are tried; default: all")
    parser.add_argument("--seeds", type=int, help="for a first look: so many seeds, and nothing is stored")
    parser.add_argument("--list", action="store_true", help="print the claims and stop")
    given = parser.parse_args(arguments)
    known: dict[str, Experiment] = experiments()
    if unknown := [name for name in given.recipes if name not in known]:
        print(f"no experiment for {unknown[0]!r}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    console = Console()
    if given.list:
        for one in known.values():
            console.print(f"[bold]{one.recipe}[/bold]: {one.claim}")
        return 0
    torch.set_num_threads(1)
    for name in given.recipes or known:
        result = run(known[name], None if given.seeds is None else range(given.seeds))
        show(result, console)
        if given.seeds is None:
            store(result)
    if given.seeds is None:
        status.write()
        console.print(f"plots: {report.write()}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
