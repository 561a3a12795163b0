"""Rows of logged feedback and of scored texts: read from any source by the one validator of all data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets import Dataset

from prefopt.errors import UserError
from prefopt.trainers.data_record import record_data
from reward_models.data import load_with_report, read_quarantine
from reward_models.data.faults import BadRow
from reward_models.data.shapes.feedback import LOGGED_TOKENS, SAMPLE_WEIGHT, logged_row, text_row
from reward_models.errors import DataError

__all__ = ["LOGGED_TOKENS", "logged_row", "read_rows", "text_row"]


def read_rows(data: Any, kind: str, on_bad_row: str, quarantine: Path, name: str) -> tuple[Dataset, list[BadRow]]:
    """Return the rows of a file, hub name or data set, "logged" or "texts", and the rows that are refused.

    Raises:
        UserError: a bad row, where those stop the run, or too many; no row left; a source that cannot be opened.
    """
    try:
        rows, report = load_with_report(data, kind, on_bad_row=on_bad_row, quarantine_path=quarantine)
    except DataError as error:
        raise UserError(f"{name}: {error}") from error
    record_data(quarantine.parent, name, report)
    if SAMPLE_WEIGHT in rows.column_names and any(weight is None for weight in rows[SAMPLE_WEIGHT]):
        raise UserError(f"{name}: some rows have a {SAMPLE_WEIGHT} and others don't; give all of them one")
    return rows, read_quarantine(report.quarantine) if report.quarantine else []
