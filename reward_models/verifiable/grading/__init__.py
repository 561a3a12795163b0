"""Grade programs in a sandbox so that a wrong one cannot score."""

from __future__ import annotations

from reward_models.verifiable.grading.cases import (
    AssertCase,
    CallCase,
    Case,
    CheckCase,
    Execution,
    Graded,
    Job,
    Status,
    StdinCase,
)
from reward_models.verifiable.grading.grade import grade

__all__ = [
    "AssertCase",
    "CallCase",
    "Case",
    "CheckCase",
    "Execution",
    "Graded",
    "Job",
    "Status",
    "StdinCase",
    "grade",
]
