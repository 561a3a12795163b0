"""A record to one HTML file without references to anything outside it."""

from __future__ import annotations

from pathlib import Path

from prefopt.report.record import RunRecord


def write_report(record: RunRecord, path: str | Path) -> Path:
    """Write the report and return its path."""
    raise NotImplementedError
