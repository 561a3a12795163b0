"""What the data check found."""

from __future__ import annotations

from prefopt.report.record import DataCheck, RunRecord
from prefopt.report.sections.parts import Missing, Section, Table
from prefopt.report.words import plural


def data(record: RunRecord) -> Section | Missing:
    """One row a source."""
    if not record.data:
        return Missing("No data check was recorded.")
    head = ("Source", "Shape", "Rows", "Kept", "Quarantined", "Duplicates", "Contradictions", "Leaks")
    rows = tuple((check.name, check.shape or "–", *_counts(check)) for check in record.data)
    total, kept = sum(check.rows for check in record.data), sum(check.kept for check in record.data)
    held = sum(check.quarantined for check in record.data)
    finding = f"{kept:,} of {plural(total, 'row')} were kept; {held:,} went into quarantine with their reasons."
    notes = tuple(note for check in record.data for note in check.notes)
    return Section(anchor="data", title="The data", short="Data", finding=finding, text=notes, table=Table(head, rows))


def _counts(check: DataCheck) -> list[str]:
    figures = (check.rows, check.kept, check.quarantined, check.duplicates, check.contradictions, check.leaks)
    return [f"{figure:,}" for figure in figures]
