"""What the installed package knows of claims: ``prefopt/recipes/claims.json``, made from the stored results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import prefopt.recipes
from scripts.claims.experiment import stored

PACKAGED = Path(prefopt.recipes.__file__).parent / "claims.json"


def summary(result: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a result that `prefopt methods` shows: no plots, no values of single seeds."""
    numbers = {
        name: {key: number[key] for key in ("mean", "low", "high")} for name, number in result["numbers"].items()
    }
    return {
        "claim": result["claim"],
        "verdict": result["verdict"],
        "rule": result["rule"],
        "numbers": numbers,
        "seeds": len(result["seeds"]),
        "command": result["command"],
    }


def text(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The file's text: a line a recipe, sorted, so that two people who add a claim change different lines."""
    rows = [f"{json.dumps(name)}: {json.dumps(summary(results[name]), ensure_ascii=False)}" for name in sorted(results)]
    return "{\n" + ",\n".join(rows) + ("\n" if rows else "") + "}\n"


def write() -> Path:
    """Bring the package's file up to the stored results."""
    PACKAGED.write_text(text(stored()), encoding="utf-8")
    return PACKAGED
