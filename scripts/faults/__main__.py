"""``python -m scripts.faults [NAME ...] [--seed N]``: break things, count, print and keep the figures."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import torch
from rich.console import Console
from rich.table import Table

from scripts import faults
from scripts.faults.figure import Figure

RESULTS = Path(__file__).parent / "results"
FRAME = ("__main__",)


def experiments() -> list[str]:
    """Names of the modules that break something."""
    found = [module.name for module in iter_modules(faults.__path__) if module.name not in FRAME]
    return [name for name in found if hasattr(import_module(f"{faults.__name__}.{name}"), "inject")]


def run(name: str, seed: int) -> list[Figure]:
    """Run one experiment, and keep its figures."""
    begin = time.perf_counter()
    figures: list[Figure] = import_module(f"{faults.__name__}.{name}").inject(seed)
    stored = {
        "name": name,
        "command": f"python -m scripts.faults {name} --seed {seed}",
        "seconds": round(time.perf_counter() - begin, 1),
        "figures": [asdict(figure) for figure in figures],
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(stored, indent=2) + "\n", encoding="utf-8")
    return figures


def table(figures: Sequence[tuple[str, Figure]]) -> Table:
    """Return the figures, an experiment's name each, as they are printed."""
    shown = Table("experiment", "what was tried", "times", "held", "lost", "", title="Faults", title_justify="left")
    for name, figure in figures:
        style = "" if figure.kept else "bold red"
        numbers = (f"{value:,}" for value in (figure.tried, figure.held, figure.lost))
        shown.add_row(name, figure.name, *numbers, figure.note, style=style)
    return shown


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the named experiments, or all; 1 where something was lost."""
    parser = argparse.ArgumentParser(prog="python -m scripts.faults", description=__doc__)
    known = experiments()
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}; all where none is given")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    if unknown := [name for name in chosen.names if name not in known]:
        parser.error(f"unknown experiment {unknown[0]!r}; experiments are {', '.join(known)}")
    torch.set_num_threads(1)
    found = [(name, figure) for name in chosen.names or known for figure in run(name, chosen.seed)]
    Console().print(table(found))
    broken = [figure for _, figure in found if not figure.kept]
    lost = sum(figure.lost for figure in broken)
    print(f"{sum(figure.tried for _, figure in found):,} faults and requests, {lost:,} lost" + (" !" if broken else ""))
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
