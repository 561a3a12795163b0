"""The texts of pairs, for a model that scores single answers."""

from __future__ import annotations

from typing import Any

from datasets import Dataset

from prefopt.trainers.reward import REFERENCE_ROWS


def texts_of(pairs: Dataset, most: int = REFERENCE_ROWS) -> list[tuple[Any, Any]]:
    """Return prompt and answer of both sides of the first ``most`` pairs."""
    first = pairs.select(range(min(len(pairs), most)))
    return [(row["prompt"], row[side]) for row in first for side in ("chosen", "rejected")]
