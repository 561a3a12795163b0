"""A cell: the verdict on one case, and why."""

from __future__ import annotations

from dataclasses import dataclass

from reward_models.verifiable.grading.cases import UNGRADED, Status


@dataclass(frozen=True)
class Cell:
    """Status of a case, with a reason for a person to read."""

    status: Status
    reason: str = ""

    @property
    def verdict(self) -> bool | None:
        """True, False, or None where the program is not to blame."""
        return None if self.status in UNGRADED else self.status == "ok"


OK = Cell("ok")
LATE = Cell("timeout", "no answer before the deadline")


def cell_of(kind: str, name: str, message: str) -> Cell:
    """Return the cell of an answer that is no value: ``kind`` raised, large, foreign."""
    text = f"{name}: {message}" if message else name
    if kind == "large":
        return Cell("output_limit", message)
    if kind == "foreign":
        return Cell("wrong", message)
    return Cell("memory" if name == "MemoryError" else "error", text)
