"""``python -m scripts.bench [ROW ...]``: measure rows beside their peers and print the table."""

from __future__ import annotations

import importlib
import pkgutil
import sys

from rich.console import Console
from rich.table import Table

from scripts.bench import rows
from scripts.bench.harness import Row, run


def table_rows() -> dict[str, Row]:
    """All rows by name."""
    found = [importlib.import_module(f"{rows.__name__}.{m.name}").ROW for m in pkgutil.iter_modules(rows.__path__)]
    return {row.name: row for row in found}


def main(names: list[str]) -> int:
    """Run the named rows, or all."""
    known = table_rows()
    if unknown := [name for name in names if name not in known]:
        print(f"unknown row {unknown[0]!r}; rows are {', '.join(known)}", file=sys.stderr)
        return 2
    table = Table("row", "peer", "threads", "ratio (min to max)", "reach", "limit")
    for name in names or known:
        result = run(known[name])
        for one in result["measured"]:
            ratio = one["ratio"]
            table.add_row(
                name,
                result["peer"],
                str(one["threads"]),
                f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})",
                f"{result['reach']:g}",
                f"{result['limit']:.2f}" if result["limit"] else "",
            )
        Console().print(table)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
