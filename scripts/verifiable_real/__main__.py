"""``python -m scripts.verifiable_real [PART ...]``: measure, print, and keep the figures.

Parts: humaneval, mbpp, codet, plain (compares with what codet found before it), asserts, gsm8k.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console

from scripts.bench.harness import RESULTS
from scripts.verifiable_real import asserts, codet, gsm8k, humaneval, mbpp, plain

PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "humaneval": humaneval.measure,
    "mbpp": mbpp.measure,
    "codet": codet.measure,
    "plain": lambda: plain.measure(kept()["codet"]),
    "asserts": asserts.measure,
    "gsm8k": gsm8k.measure,
}
RESULT = RESULTS / "verifiable_real.json"
LONG = ("by_problem", "verdicts")


def kept() -> dict[str, Any]:
    """What was measured before."""
    found: dict[str, Any] = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
    return found


def main(names: list[str]) -> int:
    """Measure the named parts, or all; what was measured before of the others is kept."""
    if unknown := [name for name in names if name not in PARTS]:
        print(f"unknown part {unknown[0]!r}; parts are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    for name in names or PARTS:
        found = PARTS[name]()
        together = kept() | {"row": "verifiable_real", "command": "python -m scripts.verifiable_real", name: found}
        RESULT.write_text(json.dumps(together, indent=2) + "\n", encoding="utf-8")
        Console().print(name, {key: value for key, value in found.items() if key not in LONG})
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
