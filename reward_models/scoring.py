"""Batch scoring of files: every row once, in order, whatever happens on the way."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from reward_models.data.faults import BadRow, RowFault, bad_row
from reward_models.data.files import read_rows
from reward_models.data.quarantine import Quarantine
from reward_models.errors import DataError
from reward_models.folder import HEAD_INFO
from reward_models.formatting import Encoded
from reward_models.model import RewardModel
from reward_models.score_rows import Columns
from reward_models.score_store import ScoreStore
from reward_models.scoring_settings import ScoringSettings, check_files

__all__ = ["ScoringReport", "ScoringSettings", "check_files", "score_file"]


@dataclass
class ScoringReport:
    """Counts of one run. ``scored`` are forward passes' rows, ``reused`` texts whose score was known already."""

    rows: int = 0
    resumed_rows: int = 0
    scored: int = 0
    reused: int = 0
    truncated: int = 0
    quarantined: int = 0
    not_finite: int = 0
    tokens: int = 0


def score_file(
    model: RewardModel,
    source: str | Path,
    output: str | Path,
    settings: ScoringSettings | None = None,
    model_name: str | Path = "",
    progress: Callable[[int], None] = lambda rows: None,
) -> ScoringReport:
    """Score a JSONL or Parquet file (also .gz) into another, rows in the same order with score columns added.

    Rows hold prompt and completion(s), or prompt, chosen and rejected; any other preference shape is first brought to
    the latter. Memory holds ``shard_rows`` rows. A killed run goes on from its last shard when called again. A score
    that is not finite becomes null and is counted.

    Raises:
        DataError: an unknown format, a bad row (with "raise"), no rows, or a column that exists already.
    """
    settings = settings or ScoringSettings()
    source, output = Path(source), Path(output)
    check_files(source, output)
    output.parent.mkdir(parents=True, exist_ok=True)
    manifest = {
        "input": file_digest(source),
        "model": model_digest(model, model_name),
        "format": output.name[output.name.index(".") :],
        "settings": asdict(settings),
    }
    store = ScoreStore(output, manifest)
    report = ScoringReport()
    columns = Columns(model.names, settings.prefix)
    quarantine = Quarantine(output.with_name(output.name + ".quarantine.jsonl"))
    with quarantine:
        good = _good_rows(source, columns, settings.on_bad_row, quarantine)
        shards = 0
        while rows := list(islice(good, settings.shard_rows)):
            if store.shard(shards).exists():
                report.resumed_rows += len(rows)
            else:
                store.write_shard(shards, _scored(model, rows, columns, settings, store, shards, report))
            shards += 1
            report.rows += len(rows)
            progress(report.rows)
        report.quarantined = quarantine.count
    if not shards:
        store.discard()
        raise DataError(f"{source}: no rows to score")
    store.finish(shards)
    return report


def _scored(
    model: RewardModel,
    rows: list[dict[str, Any]],
    columns: Columns,
    settings: ScoringSettings,
    store: ScoreStore,
    shard: int,
    report: ScoringReport,
) -> list[dict[str, Any]]:
    formatter = model.formatter(settings.max_length)
    keys: list[list[bytes]] = []
    wanted: dict[bytes, Encoded] = {}
    for row in rows:
        encoded = [formatter.encode(row["prompt"], text) for text in columns.completions_of(row)]
        report.truncated += sum(bool(e.prompt_cut or e.response_cut) for e in encoded)
        keys.append([hashlib.sha256(np.asarray(e.input_ids, dtype="<i4").tobytes()).digest() for e in encoded])
        wanted |= dict(zip(keys[-1], encoded, strict=True))
    # Batches are made of what the shards before this one lack, so that they are the same when a killed run goes on.
    scores, interrupted = store.known(list(wanted), shard)
    missing = [key for key in wanted if key not in scores]
    scores |= interrupted
    scored = 0
    for batch in model.batches([wanted[key] for key in missing], settings.batch_tokens):
        chosen = [missing[i] for i in batch.rows]
        if all(key in scores for key in chosen):
            continue
        values = model.score_batch(batch)
        store.remember(chosen, values, shard)
        scores |= dict(zip(chosen, values.tolist(), strict=True))
        report.tokens += sum(len(wanted[key].input_ids) for key in chosen)
        scored += len(chosen)
    report.scored += scored
    report.reused += sum(map(len, keys)) - scored
    finished = []
    for row, own in zip(rows, keys, strict=True):
        clean = [[value if math.isfinite(value) else None for value in scores[key]] for key in own]
        report.not_finite += sum(value is None for values in clean for value in values)
        finished.append(columns.with_scores(row, clean))
    return finished


def _good_rows(source: Path, columns: Columns, on_bad_row: str, quarantine: Quarantine) -> Iterator[dict[str, Any]]:
    for number, row in _rows(source, on_bad_row, quarantine):
        bad = row if isinstance(row, BadRow) else None
        if bad is None:
            try:
                columns.completions_of(row)
            except RowFault as fault:
                bad = bad_row(str(source), number, row, fault)
        if bad is None:
            yield row
        elif on_bad_row == "quarantine":
            quarantine.add(bad)
        else:
            raise DataError(f"{bad}. Mend the row, or set on_bad_row to quarantine.")


def _rows(source: Path, on_bad_row: str, quarantine: Quarantine) -> Iterable[tuple[int, Any]]:
    first = next((row for _, row in read_rows(source) if not isinstance(row, BadRow)), None)
    if isinstance(first, dict) and "prompt" not in first:
        from reward_models.data import load_preferences

        beside = quarantine.path.with_name(quarantine.path.name.replace(".quarantine.", ".unread."))
        pairs = load_preferences(str(source), streaming=True, on_bad_row=on_bad_row, quarantine_path=beside)
        return ((number, dict(pair)) for number, pair in enumerate(pairs, start=1))
    return read_rows(source)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
        return digest.hexdigest()


def model_digest(model: RewardModel, name: str | Path) -> str:
    """What tells one model's scores from another's: its head, its settings, and its folder's weight files."""
    digest = hashlib.sha256(model.score_head.weight.detach().cpu().numpy().tobytes())
    digest.update(repr((model.names, model.pooling, model.max_length, model.config.to_json_string())).encode())
    folder = Path(name)
    if name and (folder / HEAD_INFO).exists():
        for file in sorted(folder.glob("*.safetensors")):
            digest.update(repr((file.name, file.stat().st_size, file.stat().st_mtime_ns)).encode())
    return digest.hexdigest()
