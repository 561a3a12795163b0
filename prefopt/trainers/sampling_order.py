"""Orders of rows that depend on seed and epoch alone, so that a resumed run sees the same batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler


class EpochShuffle(Sampler[int]):
    """A permutation that depends on seed and epoch alone, then fillers up to a multiple of ``multiple``."""

    def __init__(self, count: int, multiple: int, seed: int) -> None:
        self.count, self.multiple, self.seed, self.epoch = count, multiple, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the data loader at the start of each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.count // self.multiple) * self.multiple

    def __iter__(self) -> Iterator[int]:
        order = torch.randperm(self.count, generator=torch.Generator().manual_seed(self.seed + self.epoch)).tolist()
        return iter([*order, *range(self.count, len(self))])


class LengthBuckets(EpochShuffle):
    """A random order in which the ``unit`` rows that are taken together have similar lengths.

    Rows are shuffled and cut into windows of many units; each window is sorted by length, give or take a twentieth, and
    cut into its units, and the units of all windows are shuffled. A row thus has other company in every epoch, and
    a unit's place says nothing about its length. Rows that fill no whole unit come last.
    """

    WINDOW_UNITS = 64
    NOISE = 0.05

    def __init__(self, lengths: Sequence[int], unit: int, multiple: int, seed: int) -> None:
        super().__init__(len(lengths), multiple, seed)
        self.lengths, self.unit = list(lengths), unit

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        rows = torch.randperm(self.count, generator=generator).tolist()
        noise = (1 + self.NOISE * torch.rand(self.count, generator=generator, dtype=torch.float64)).tolist()
        whole, window = self.count // self.unit * self.unit, self.unit * self.WINDOW_UNITS
        units: list[list[int]] = []
        for start in range(0, whole, window):
            ordered = sorted(rows[start : min(start + window, whole)], key=lambda i: self.lengths[i] * noise[i])
            units += [ordered[i : i + self.unit] for i in range(0, len(ordered), self.unit)]
        for number in torch.randperm(len(units), generator=generator).tolist():
            yield from units[number]
        yield from rows[whole:]
        yield from range(self.count, len(self))
