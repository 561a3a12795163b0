"""``python -m scripts.faults [NAME ...] [--seed N]``: break things, count, print and keep the figures.

They are kept in ``results``, and stand in ``docs/reliability.md``, which is written with them.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from tempfile import TemporaryDirectory

from rich.console import Console

from scripts import faults
from scripts.faults.report import keep, kept, summary, table, write_page

FOLDER = Path(__file__).parent


def experiments() -> list[str]:
    """Names of the modules that break something. Looked up in their texts, as importing them all takes seconds."""
    found = [module.name for module in iter_modules(faults.__path__)]
    return [name for name in found if "\ndef inject(" in _text(name)]


def _text(name: str) -> str:
    file = FOLDER / f"{name}.py"
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def run(name: str, seed: int) -> None:
    """Run one experiment here, and keep its figures."""
    import torch

    torch.set_num_threads(1)
    begin = time.perf_counter()
    figures = import_module(f"{faults.__name__}.{name}").inject(seed)
    keep(name, seed, time.perf_counter() - begin, figures)


def run_apart(name: str, seed: int, log: Path) -> bool:
    """Run one in a process of its own, what trainers and servers print going to ``log``; whether it came to its end."""
    command = [sys.executable, "-m", faults.__name__, "--here", "--seed", str(seed), name]
    with log.open("w", encoding="utf-8") as file:
        return subprocess.run(command, stdout=file, stderr=subprocess.STDOUT).returncode == 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the named experiments, or all; 1 where something was lost, or an experiment broke."""
    parser = argparse.ArgumentParser(prog="python -m scripts.faults", description=faults.__doc__)
    known = experiments()
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}; all where none is given")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kept", action="store_true", help="run nothing: print the figures that are kept")
    parser.add_argument("--here", action="store_true", help="in this process, with all that is printed on the way")
    chosen = parser.parse_args(arguments)
    if unknown := [name for name in chosen.names if name not in known]:
        parser.error(f"unknown experiment {unknown[0]!r}; experiments are {', '.join(known)}")
    console, broken = Console(), []
    names = chosen.names or known
    with TemporaryDirectory(prefix="prefopt-faults-") as logs:
        for place, name in enumerate([] if chosen.kept else names, 1):
            if chosen.here:
                run(name, chosen.seed)
                continue
            status = console.status(f"{name} ({place} of {len(names)})") if console.is_terminal else None
            log = Path(logs) / name
            with status or contextlib.nullcontext():
                if not run_apart(name, chosen.seed, log):
                    broken.append(name)
                    console.print(f"[bold red]{name} ended with an error:[/bold red]")
                    console.print("".join(log.read_text(encoding="utf-8").splitlines(True)[-12:]), markup=False)
    found = [one for one in kept(names) if one[0] not in broken]
    console.print(table(found))
    console.print(summary(found), highlight=False)
    write_page()
    return int(bool(broken) or not all(figure.kept for _, _, figures in found for figure in figures))


if __name__ == "__main__":
    raise SystemExit(main())
