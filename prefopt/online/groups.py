"""Statistics of groups (the completions of one prompt) that ignore rows without a score.

All statistics are taken in float64, so that neither the order of rows nor the number of groups changes a result that a
reader would call equal.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Groups:
    """Which rows belong together and which of them count.

    Attributes:
        index: ``(B,)`` int64, number of the row's group, ``0 <= index < number``.
        scored: ``(B,)`` bool, rows that count.
        number: how many groups there are.
    """

    index: Tensor
    scored: Tensor
    number: int

    @classmethod
    def of(cls, group: Tensor, values: Tensor) -> Groups:
        """Group rows by ``group`` ``(B,)``; rows whose value ``(B,)`` is NaN do not count."""
        labels, index = torch.unique(group, return_inverse=True)
        return cls(index, ~torch.isnan(values), len(labels))

    def _reduce(self, values: Tensor, how: str, start: float) -> Tensor:
        result = torch.full((self.number,), start, dtype=torch.float64, device=values.device)
        kept = self.scored
        result = result.scatter_reduce(0, self.index[kept], values.double()[kept], how, include_self=True)
        return result[self.index]

    def total(self, values: Tensor) -> Tensor:
        """Return ``(B,)``: the sum of ``values`` over the scored rows of each row's group."""
        return self._reduce(values, "sum", 0.0)

    @property
    def count(self) -> Tensor:
        """``(B,)``: how many rows of each row's group are scored."""
        return self.total(torch.ones_like(self.index, dtype=torch.float64))

    @property
    def representative(self) -> Tensor:
        """``(B,)`` bool: one scored row of each group that has any, so that a figure of groups counts each once."""
        rows = torch.arange(len(self.index), device=self.index.device)
        return self.scored & (self._reduce(rows, "amin", torch.inf) == rows)

    def column_total(self, values: Tensor) -> Tensor:
        """Return ``(B, T)``: the sum of ``values`` ``(B, T)`` over each row's group, position by position."""
        total = torch.zeros(self.number, values.shape[1], dtype=torch.float64, device=values.device)
        return total.index_add(0, self.index, values.double() * self.scored[:, None])[self.index]

    def column_largest(self, values: Tensor) -> Tensor:
        """Return ``(B, T)``: the largest of ``values`` ``(B, T)`` in each row's group, position by position."""
        start = torch.full((self.number, values.shape[1]), -torch.inf, dtype=torch.float64, device=values.device)
        kept = self.scored
        where = self.index[kept, None].expand(-1, values.shape[1])
        return start.scatter_reduce(0, where, values.double()[kept], "amax")[self.index]

    def below(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``(B,)`` twice: how many scored rows of the row's group have less, and how many have the same."""
        _, order = torch.unique(values, return_inverse=True)
        place = self.index * (order.max() + 1) + order
        distinct, where = torch.unique(place, return_inverse=True)
        same = torch.zeros(len(distinct), dtype=torch.float64, device=values.device)
        same = same.index_add(0, where, self.scored.double())
        before = same.cumsum(0) - same
        earlier_groups = torch.zeros(self.number, dtype=torch.float64, device=values.device)
        earlier_groups = earlier_groups.index_add(0, self.index, self.scored.double())
        earlier_groups = earlier_groups.cumsum(0) - earlier_groups
        return before[where] - earlier_groups[self.index], same[where]

    def mean(self, values: Tensor) -> Tensor:
        """Return ``(B,)``: the group's mean; NaN where no row is scored."""
        return self.total(values) / self.count.where(self.count > 0, torch.nan)

    def std(self, values: Tensor, ddof: int) -> Tensor:
        """Return ``(B,)``: the group's standard deviation; NaN where at most ``ddof`` rows are scored."""
        squares = self.total((values.double() - self.mean(values)) ** 2)
        freedom = self.count - ddof
        return (squares / freedom.where(freedom > 0, torch.nan)).sqrt()

    @property
    def compared(self) -> Tensor:
        """``(B,)`` bool: scored rows of a group that has at least two."""
        return self.scored & (self.count > 1)

    def centred(self, values: Tensor) -> Tensor:
        """Return ``(B,)``: values less the group's mean; exactly 0 where all are the same."""
        return (values.double() - self.mean(values)).where(~self.uniform(values), 0.0)

    def z_score(self, values: Tensor, ddof: int, eps: float) -> Tensor:
        """Return ``(B,)``: `centred` values over ``std + eps``; exactly 0 where all are the same."""
        scaled = (values.double() - self.mean(values)) / (self.std(values, ddof) + eps)
        return scaled.where(~self.uniform(values), 0.0)

    def largest(self, values: Tensor) -> Tensor:
        """Return ``(B,)``: the group's largest scored value; ``-inf`` where no row is scored."""
        return self._reduce(values, "amax", -torch.inf)

    def smallest(self, values: Tensor) -> Tensor:
        """Return ``(B,)``: the group's smallest scored value; ``inf`` where no row is scored."""
        return self._reduce(values, "amin", torch.inf)

    def uniform(self, values: Tensor) -> Tensor:
        """Return ``(B,)`` bool: all scored values of the group are the same, so that they tell nothing."""
        return self.largest(values) <= self.smallest(values)
