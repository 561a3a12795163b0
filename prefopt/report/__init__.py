"""The report of a run: one self-contained HTML file, drawn from a record of plain values."""

from __future__ import annotations

from prefopt.report.record import (
    Completion,
    DataCheck,
    Estimate,
    Example,
    Goal,
    Histogram,
    Policy,
    ReliabilityBin,
    RewardModelEvaluation,
    RewardSource,
    RunRecord,
    Sample,
    Stage,
    SubsetAccuracy,
)
from prefopt.report.render import write_report

__all__ = [
    "Completion",
    "DataCheck",
    "Estimate",
    "Example",
    "Goal",
    "Histogram",
    "Policy",
    "ReliabilityBin",
    "RewardModelEvaluation",
    "RewardSource",
    "RunRecord",
    "Sample",
    "Stage",
    "SubsetAccuracy",
    "write_report",
]
