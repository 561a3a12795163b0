"""What became of the rows of a run's data, as ``data.json`` in its folder: every row is used, or bad and set apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reward_models.data import Report
from reward_models.whole_files import replace_json

NAME = "data.json"


def record_data(folder: str | Path, name: str, report: Report) -> None:
    """Add what the validator found in ``name`` (training data, evaluation data) to the record of a run."""
    counts = {
        "source": report.source,
        "shape": report.shape,
        "rows": report.rows,
        "used": report.used,
        "bad": report.bad_count,
        "reasons": dict(report.bad),
        "quarantine": report.quarantine,
        "examples": report.examples,
        "ties": report.ties,
        "prompts_without_a_pair": report.without_pairs,
        "duplicates": report.duplicates,
        "contradictions": report.contradictions,
    }
    _add(Path(folder), name, counts)


def record_lengths(folder: str | Path, name: str, examples: int, bad: int, limit: int) -> None:
    """Add how many examples were measured against a limit on tokens, and how many of them don't fit."""
    _add(Path(folder), f"{name}, lengths", {"examples": examples, "used": examples - bad, "bad": bad, "limit": limit})


def read_record(folder: str | Path) -> dict[str, Any]:
    """Return the record of a run; empty where there is none."""
    file = Path(folder) / NAME
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def _add(folder: Path, name: str, counts: dict[str, Any]) -> None:
    replace_json(folder / NAME, {**read_record(folder), name: counts})
