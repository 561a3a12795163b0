"""Measure rows beside their peers, print the table, write ``results/ROW.json``.

    python -m scripts.bench                             all rows
    python -m scripts.bench dpo_training --threads 1    one, with one thread; what is not measured now stays in its file
    python -m scripts.bench dpo_training --only memory
    python -m scripts.bench "gpu_*"                     all rows for a GPU; without one each says why it is skipped

Each part (a number of threads, or memory) takes less than three minutes on two cores.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
from collections.abc import Sequence
from fnmatch import fnmatch

from rich.console import Console
from rich.table import Table

from scripts.bench import rows
from scripts.bench.harness import Row, run


def row_names() -> list[str]:
    """All rows: a module of `rows` that is called so."""
    return [module.name for module in pkgutil.iter_modules(rows.__path__)]


def load_row(name: str) -> Row:
    """Import one row and no other: each needs packages of its own."""
    row: Row = importlib.import_module(f"{rows.__name__}.{name}").ROW
    return row


def main(argv: Sequence[str]) -> int:
    """Run the named rows, or all."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="*", default=["*"], help=f"names or patterns of {', '.join(row_names())}")
    parser.add_argument("--threads", type=int, help="measure with this number of threads alone, without memory")
    parser.add_argument("--only", choices=("times", "memory"), help="measure times, or memory, alone")
    arguments = parser.parse_args(argv)
    for pattern in arguments.rows:
        if not any(fnmatch(name, pattern) for name in row_names()):
            print(f"unknown row {pattern!r}; rows are {', '.join(row_names())}", file=sys.stderr)
            return 2
    table = Table("row", "peer", "threads", "ratio (min to max)", "reach", "limit", "of the limit")
    for name in row_names():
        if not any(fnmatch(name, pattern) for pattern in arguments.rows):
            continue
        row = load_row(name)
        if (reason := row.skip()) is not None:
            print(f"{name}: skipped, {reason}", file=sys.stderr)
            continue
        numbers = None if arguments.threads is None else (arguments.threads,)
        memory = arguments.only == "memory" or (arguments.only is None and numbers is None)
        result = run(row, numbers, times=arguments.only != "memory", memory=memory)
        closeness = {one["threads"]: f"{one['share_of_limit']:.0%}" for one in result["closeness"]}
        for one in result["measured"]:
            ratio = one["ratio"]
            table.add_row(
                name,
                result["peer"],
                str(one["threads"]),
                f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})",
                f"{result['reach']:g}" if result["reach"] else "",
                f"{result['limit']:.2f}" if result["limit"] else "",
                closeness.get(one["threads"], ""),
            )
    if table.row_count:
        Console().print(table)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
