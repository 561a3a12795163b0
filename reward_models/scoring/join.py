"""From the parts of a scoring run to its output; needs no model."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from reward_models.data.quarantine import Quarantine
from reward_models.disk_faults import disk_faults
from reward_models.errors import DataError
from reward_models.reference import ReferenceLayout
from reward_models.scoring.input import ScoringInput, ScoringRow, file_digest
from reward_models.scoring.lock import hold, lock_of
from reward_models.scoring.output import write_rows
from reward_models.scoring.parts import Part, part_files, quarantine_of, remove_part
from reward_models.scoring.records import Kept
from reward_models.scoring.report import SUMMED, ScoringReport
from reward_models.scoring.rows import Columns
from reward_models.scoring.settings import ScoringSettings, check_files
from reward_models.scoring.shard import unscorable
from reward_models.scoring.store import ScoreStore

NOT_FINITE = "the score is not finite"
AGAIN = "The scores of all texts are kept; mend this and run the same command again to go on."


def join_parts(
    source: str | Path, output: str | Path, count: int, parts: list[ScoringReport] | None = None
) -> ScoringReport:
    """Write the output from the files of all ``count`` parts, then remove them.

    Raises:
        DataError: a part that is missing, damaged, not finished, at work, or of another input, model or setting; a disk
            that is full.
    """
    source, output = Path(source), Path(output)
    check_files(source, output)
    with ExitStack() as held:
        paths = [Part(number, count).path(output) for number in range(1, count + 1)]
        for path in paths:
            if path.exists():
                held.enter_context(hold(path))
        stores = []
        for path in paths:
            stores.append(store := ScoreStore(path))
            held.callback(store.close)
        report, empty = ScoringReport(), True
        rows = _input_of(stores, source, output)
        with disk_faults(output, lambda: AGAIN):
            empty = next(_finished(rows, stores, report), None) is None
            if not empty:
                write_rows(output, lambda: _finished(rows, stores, report))
        for store in stores:
            store.close()
        for path in part_files(output):
            remove_part(path)
            if path not in paths:
                lock_of(path).unlink(missing_ok=True)
    if empty:
        raise DataError(f"{source}: no rows to score")
    for name in SUMMED:
        setattr(report, name, sum(getattr(part, name) for part in parts or ()))
    report.reused -= report.scored
    return report


def _input_of(stores: list[ScoreStore], source: Path, output: Path) -> ScoringInput:
    manifest = _common_manifest(stores, source)
    settings = ScoringSettings(**manifest["settings"])
    layout = manifest.get("layout")
    columns = Columns(
        tuple(manifest["heads"]),
        settings.prefix,
        None if layout is None else ReferenceLayout(**layout),
        manifest.get("steps") is not None,
    )
    return ScoringInput(source, columns, settings, Quarantine(quarantine_of(output)))


def _finished(rows: ScoringInput, stores: list[ScoreStore], report: ScoringReport) -> Iterator[list[dict[str, Any]]]:
    """Rows with their scores, shard by shard; ``report`` counts them from 0."""
    vars(report).update(vars(ScoringReport()))
    rows.quarantine.count = 0
    with rows.quarantine as bad:
        for content in rows.shards():
            known = _scores(stores, [key for row in content for key in row.keys])
            done = (_finish(row, known, rows, report) for row in content)
            yield [row for row in done if row is not None]
        report.quarantined = bad.count


def _common_manifest(stores: list[ScoreStore], source: Path) -> dict[str, Any]:
    manifest = stores[0].manifest
    for store in stores:
        if not store.complete:
            raise DataError(f"{store.path} is not finished; run that part again to go on")
        if store.manifest != manifest:
            raise DataError(f"{store.path} belongs to another input, model or setting than {stores[0].path}")
    if file_digest(source) != manifest["input"]:
        raise DataError(f"{source} is not what was scored; join with the same input")
    return manifest


def _scores(stores: list[ScoreStore], keys: list[bytes]) -> dict[bytes, Kept]:
    first = stores[0].known(keys)
    found: dict[bytes, Kept] = {}
    for place, store in enumerate(stores):
        own = [key for key, kept in first.items() if kept.shard % len(stores) == place]
        known = store.known(own) if place else {key: first[key] for key in own}
        if absent := sum(key not in known or not known[key].settled for key in own):
            raise _damaged(store, absent)
        found |= known
    if absent := len(set(keys) - set(found)):
        raise _damaged(stores[0], absent)
    return found


def _damaged(store: ScoreStore, absent: int) -> DataError:
    return DataError(
        f"{store.path}: {absent:,} scores are missing or not as they were written; run that part again: only these "
        "texts' batches are scored again"
    )


def _finish(
    row: ScoringRow, known: dict[bytes, Kept], rows: ScoringInput, report: ScoringReport
) -> dict[str, Any] | None:
    columns = rows.columns
    if row.fault is not None:
        report.rows += 1
        report.unscored += 1
        return columns.without_scores(row.row, f"{row.fault.field}: {row.fault.detail} ({row.fault.reason})")
    found = [known[key] for key in row.keys]
    reasons = [kept.reason for kept in found if kept.reason is not None]
    if reasons and rows.settings.on_bad_row == "quarantine":
        rows.refuse(unscorable(rows, row, reasons[0]))
        return None
    scores = [_finite(kept, len(columns.heads)) for kept in found]
    report.rows += 1
    report.reused += len(row.keys)
    report.truncated += sum(kept.cut for kept in found)
    report.unscored += len(reasons)
    nulls = sum(value is None for kept, one in zip(found, scores, strict=True) if kept.reason is None for value in one)
    report.not_finite += nulls
    reasons += [NOT_FINITE] if nulls else []
    finished = columns.with_scores(row.row, scores)
    return {**finished, columns.reason_column: "; ".join(dict.fromkeys(reasons))} if reasons else finished


def _finite(kept: Kept, heads: int) -> list[float | None]:
    if kept.scores is None:
        return [None] * heads
    return [value if math.isfinite(value) else None for value in kept.scores]
