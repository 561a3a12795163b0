"""Rows that fill up an epoch's last batch on several processes, and count for nothing.

accelerate would repeat the epoch's first rows there, and count them twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from accelerate.data_loader import SeedableRandomSampler
from datasets import Dataset
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import RandomSampler, Sampler


class RowsAndFillers(TorchDataset[dict[str, Any]]):
    """Rows by index; beyond the last one an earlier row again, with ``weight`` 0."""

    def __init__(self, rows: Dataset) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self.rows[index % len(self.rows)]
        return dict(row) if index < len(self.rows) else {**row, "weight": 0.0}


class FilledUp(Sampler[int]):
    """An order of rows, then fillers up to a multiple of ``multiple``."""

    def __init__(self, order: Sampler[int], multiple: int, seed: int | None) -> None:
        if isinstance(order, RandomSampler):
            # What accelerate would make of it, could it see it: the order that one process has.
            order = SeedableRandomSampler(data_source=order.data_source, data_seed=seed)
        self.order, self.multiple = order, multiple

    def set_epoch(self, epoch: int) -> None:
        """Called by the data loader at the start of each epoch."""
        if hasattr(self.order, "set_epoch"):
            self.order.set_epoch(epoch)

    def __len__(self) -> int:
        return -(-len(self.order) // self.multiple) * self.multiple  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[int]:
        yield from self.order
        yield from range(len(self.order), len(self))  # type: ignore[arg-type]
