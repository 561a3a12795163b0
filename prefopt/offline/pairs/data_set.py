"""The pairs of a fixed data set."""

from __future__ import annotations

from dataclasses import dataclass

from prefopt.offline.slots import PairSource


@dataclass(frozen=True)
class DataSet(PairSource):
    """The pairs of the training data as they are, each once an epoch."""
