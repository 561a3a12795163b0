"""The first stage: look the data over, and load it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from datasets import Dataset

from prefopt import assets
from prefopt.errors import UserError
from prefopt.report import DataCheck
from reward_models.data import Report, load_preferences, load_prompts, validate_splits

SPLITS = ("train", "test")


@dataclass(frozen=True)
class SampleData:
    """What the run learns from and is judged by, with what the check found."""

    pairs: Dataset
    held_out_pairs: Dataset
    prompts: Dataset
    held_out_prompts: Dataset
    checks: tuple[DataCheck, ...]


def check_data(rows: int | None = None) -> SampleData:
    """Check both splits of preferences and prompts, and load their first ``rows`` rows.

    Raises:
        UserError: the embedded data have bad rows or leak between the splits, so the installation is damaged.
    """
    files = {kind: [assets.path(f"{kind}/{split}.jsonl") for split in SPLITS] for kind in ("preferences", "prompts")}
    checks = [check for kind, paths in files.items() for check in _checks(paths, kind)]
    preferences, prompts = files["preferences"], files["prompts"]
    return SampleData(
        pairs=_first(load_preferences(preferences[0]), rows),
        held_out_pairs=_first(load_preferences(preferences[1]), rows),
        prompts=_first(load_prompts(prompts[0]), rows),
        held_out_prompts=_first(load_prompts(prompts[1]), rows),
        checks=tuple(checks),
    )


def _checks(paths: list[Path], kind: str) -> list[DataCheck]:
    reports, leaks = validate_splits(list(paths), kind=kind)
    bad = [fault for report in reports for fault in report.bad_rows]
    if bad:
        raise UserError(f"the sample data are damaged, install prefopt again: {bad[0]}")
    if leaks:
        raise UserError(
            f"the sample data are damaged, install prefopt again: {leaks[0].prompts} prompts are in both splits"
        )
    return [_check(report, f"{kind}/{path.name}") for report, path in zip(reports, paths, strict=True)]


def _check(report: Report, name: str) -> DataCheck:
    return DataCheck(
        name=name,
        rows=report.rows,
        kept=report.rows - report.bad_count,
        shape=report.shape or "",
        quarantined=report.bad_count,
        duplicates=report.duplicates,
        contradictions=report.contradictions,
        notes=report.warnings[:3],
    )


def _first(data: Dataset, rows: int | None) -> Dataset:
    return data if rows is None else data.select(range(min(rows, len(data))))
