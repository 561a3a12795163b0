"""Grade many programs at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reward_models.verifiable.grading.cases import Graded, Job


def grade(
    jobs: Sequence[Job],
    sandbox: Any = None,
    workers: int | None = None,
    mode: str | None = None,
    allow_unsafe: bool = False,
) -> list[Graded]:
    """Return the verdicts of each job, in order."""
    raise NotImplementedError
