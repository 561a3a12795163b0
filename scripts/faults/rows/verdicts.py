"""What is said of a file of rows, by the data check and by what trainers read with; in the same words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset

from prefopt.errors import UserError
from prefopt.trainers.data_record import record_data
from prefopt.trainers.judged_tokens import load_judged
from prefopt.trainers.offline_config import OfflineConfig
from prefopt.trainers.offline_data import loaded
from prefopt.trainers.response_rows import read_rows
from reward_models.data import LOADERS, load_with_report, read_quarantine, validate
from reward_models.data.faults import BadRow
from reward_models.errors import DataError
from reward_models.multi_objective.ratings import load_ratings

MENDABLE = (DataError, UserError)
QUARANTINE = "bad.jsonl"


@dataclass(frozen=True)
class Verdict:
    """Either ``refused`` as a whole, with this sentence, or rows that are used and rows that are bad."""

    refused: str | None = None
    used: int = 0
    bad: tuple[tuple[int, str, str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    counts: Mapping[str, int] | None = None


class Letters:
    """A tokenizer with one token a character and a separator at the end."""

    chat_template = None

    def __call__(self, texts: list[str], **options: Any) -> dict[str, list[list[int]]]:
        """Token ids of texts."""
        return {"input_ids": [[*map(ord, text), 0] for text in texts]}


def by_check(path: Path, options: Mapping[str, Any] | None = None, folder: Path | None = None) -> Verdict:
    """What `prefopt check-data` finds."""
    limits = {"tokenizer": Letters(), **options} if options else {}
    quarantine = (folder or path.parent) / QUARANTINE
    try:
        report = validate(path, require_shape=True, quarantine_path=quarantine, **limits)
    except DataError as error:
        return Verdict(str(error))
    written = read_quarantine(quarantine) if report.bad_count else []
    counts = {"duplicates": report.duplicates, "contradictions": report.contradictions}
    return Verdict(None, report.used, _rows(written), report.warnings, counts)


def by_loader(path: Path, kind: str, options: Mapping[str, Any] | None = None) -> Verdict:
    """What the loader of a kind of data makes of it, bad rows set apart."""
    return read_by_loader(path, kind, options)[0]


def read_by_loader(path: Path, kind: str, options: Mapping[str, Any] | None = None) -> tuple[Verdict, Dataset | None]:
    """The same, with the rows; None where the file is refused."""
    limits = {"tokenizer": Letters(), **options} if options else {}
    quarantine = path.parent / f"loader_{QUARANTINE}"
    try:
        rows, report = load_with_report(
            path, kind, on_bad_row="quarantine", quarantine_path=quarantine, max_bad_fraction=1.0, **limits
        )
    except DataError as error:
        return Verdict(str(error)), None
    written = read_quarantine(quarantine) if report.quarantine else []
    return Verdict(None, report.used, _rows(written), report.warnings), rows


def by_trainer(path: Path, kind: str) -> str | None:
    """The sentence with which a run stops that reads this file, or None where it would go on."""
    try:
        with chdir(path.parent):
            TRAINERS[kind](path, "raise", path.parent / "run")
    except MENDABLE as error:
        return str(error)
    return None


def _pairs(path: Path, on_bad_row: str, folder: Path) -> None:
    config = OfflineConfig(output_dir=str(folder), use_cpu=True, on_bad_row=on_bad_row)
    loaded(str(path), config, {"label_chosen_preferred"}, "training data")


def _judged(path: Path, on_bad_row: str, folder: Path) -> None:
    load_judged(str(path), on_bad_row, folder / "quarantine_training.jsonl", "training data")


def _responses(kind: str) -> Run:
    return lambda path, on_bad_row, folder: read_rows(
        str(path), kind, on_bad_row, folder / "quarantine_training.jsonl", "training data"
    )


def _prompts(path: Path, on_bad_row: str, folder: Path) -> None:
    from prefopt.trainers.online import OnlineConfig, _prompts

    config = OnlineConfig(output_dir=str(folder), use_cpu=True, per_device_train_batch_size=8)
    record_data(folder, "training data", _prompts(str(path), config, on_bad_row, "training")[1])


def _solutions(path: Path, on_bad_row: str, folder: Path) -> None:
    LOADERS["solutions"](str(path), on_bad_row=on_bad_row)


def _samples(path: Path, on_bad_row: str, folder: Path) -> None:
    LOADERS["triples"](str(path), on_bad_row=on_bad_row)


def _ratings(path: Path, on_bad_row: str, folder: Path) -> None:
    load_ratings(path, scale=(0.0, 1.0), on_bad_row=on_bad_row)


Run = Callable[[Path, str, Path], Any]
TRAINERS: Mapping[str, Run] = {
    "preferences": _pairs,
    "unpaired": _judged,
    "solutions": _solutions,
    "prompts": _prompts,
    "logged": _responses("logged"),
    "texts": _responses("texts"),
    "samples": _samples,
    "ratings": _ratings,
}
"""What reads a kind of data where something is trained on it: file, what bad rows do, folder of the run."""


def _rows(found: list[BadRow]) -> tuple[tuple[int, str, str, str], ...]:
    return tuple((row.row_number, row.field, row.reason, row.detail) for row in found)
