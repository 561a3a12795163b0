"""What validation found, as values: for tables, for JSON and for the manifest of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from reward_models.data.faults import BadRow
from reward_models.data.tally import Lengths, Tally


@dataclass(frozen=True)
class Report:
    """Counts over one source.

    Of ``rows`` every one is ``used`` or bad; ``examples`` are what the used rows hold: pairs, labelled answers or
    prompts (``kind``). A duplicate repeats an
    earlier example; a contradiction prefers what an earlier pair rejects. Both are warnings: their rows stay.
    ``silent`` counts answers without words in shapes where these are judged answers, such as transcripts.
    ``without_pairs`` counts prompts of good rows that give no pair: one answer only, or nothing but ties.
    """

    source: str
    shape: str | None
    kind: str
    rows: int
    used: int
    examples: int
    ties: int
    ties_kept: bool
    without_pairs: int
    duplicates: int
    contradictions: int
    silent: int
    bad: Mapping[str, int]
    bad_rows: tuple[BadRow, ...]
    warnings: tuple[str, ...]
    lengths: Mapping[str, Lengths]
    unit: str
    quarantine: str | None

    @property
    def bad_count(self) -> int:
        """All bad rows, whatever the reason."""
        return sum(self.bad.values())

    def to_dict(self) -> dict[str, Any]:
        """Plain values; of the bad rows the first few, without their content, which the quarantine file holds."""
        rows = [{k: v for k, v in asdict(row).items() if k != "row"} for row in self.bad_rows]
        return {**asdict(self), "bad_count": self.bad_count, "bad_rows": rows, "bad": dict(self.bad)}


def report_of(
    tally: Tally, source: str, shape: str | None, kind: str, *, ties_kept: bool, unit: str, quarantine: str | None
) -> Report:
    """Freeze a tally. Every row is either used or bad: anything else is a defect of ours, and stops here."""
    if tally.rows != tally.good + sum(tally.bad.values()):
        raise AssertionError(f"{source}: {tally.rows} rows, {tally.good} used and {sum(tally.bad.values())} bad")
    return Report(
        source=source,
        shape=shape,
        kind=kind,
        rows=tally.rows,
        used=tally.good,
        examples=tally.examples,
        ties=tally.ties,
        ties_kept=ties_kept,
        without_pairs=tally.without_pairs,
        duplicates=tally.duplicates,
        contradictions=tally.contradictions,
        silent=tally.silent,
        bad=dict(tally.bad.most_common()),
        bad_rows=tuple(tally.bad_rows),
        warnings=tuple(tally.warnings),
        lengths=tally.lengths(),
        unit=unit,
        quarantine=quarantine,
    )
