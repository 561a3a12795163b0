"""Adam's moments of the rows of a language-model head, kept for the rows that were seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from prefopt.composition import State


@dataclass(frozen=True)
class HeadMoments:
    """Moments of ``R`` rows of a ``(V, H)`` matrix; a row that is not among them has zero moments.

    Attributes:
        ids: ``(R,)`` int64, ascending. first, second: ``(R, H)``. step: updates so far, the same for all rows.
        beta1, beta2: decay rates.
    """

    ids: Tensor
    first: Tensor
    second: Tensor
    step: Tensor
    beta1: float = 0.9
    beta2: float = 0.999

    @classmethod
    def of(cls, state: Mapping[str, Tensor], beta1: float, beta2: float) -> HeadMoments:
        """Read ``state``, as `state` writes it; empty where there is none."""
        return cls(state["ids"], state["first"], state["second"], state["step"], beta1, beta2)

    @property
    def state(self) -> State:
        """The moments as tensors."""
        return {"ids": self.ids, "first": self.first, "second": self.second, "step": self.step}

    def step_of(self, ids: Tensor, gradient: Tensor) -> Tensor:
        """Return Adam's next step ``(N, H)`` for ``gradient`` ``(N, H)`` of the rows ``ids`` ``(N,)``, without a rate.

        Each row is looked at alone, as if it were the only gradient; nothing is written. Before the first update the
        step is the gradient itself.
        """
        if not int(self.step):
            return gradient
        return self._adam(*self._rows(ids, gradient), gradient)

    def _adam(self, first: Tensor, second: Tensor, gradient: Tensor) -> Tensor:
        exponent = int(self.step) + 1
        first = self.beta1 * first + (1 - self.beta1) * gradient
        second = self.beta2 * second + (1 - self.beta2) * gradient**2
        root = (second / (1 - self.beta2**exponent)).sqrt()
        return first / (1 - self.beta1**exponent) / (root + 1e-8)

    def _rows(self, ids: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        if not len(self.ids):
            return torch.zeros_like(like), torch.zeros_like(like)
        place = torch.searchsorted(self.ids, ids).clamp(max=len(self.ids) - 1)
        known = (self.ids[place] == ids)[:, None]
        return tuple(torch.where(known, table[place].to(like), 0.0) for table in (self.first, self.second))  # type: ignore[return-value]

    def updated(self, ids: Tensor, gradient: Tensor) -> HeadMoments:
        """Return the moments after a step with ``gradient`` ``(R', H)`` on the rows ``ids`` ``(R',)``; others stay."""
        if not len(ids):
            return self
        every = torch.unique(torch.cat([self.ids, ids.to(self.ids)]))
        blank = torch.zeros(len(every), gradient.shape[1], dtype=torch.float32, device=gradient.device)
        old, new = torch.searchsorted(every, self.ids), torch.searchsorted(every, ids.to(self.ids))
        first, second = blank.clone(), blank
        if len(old):
            first[old], second[old] = self.first, self.second
        gradient = gradient.to(first)
        first[new] = self.beta1 * first[new] + (1 - self.beta1) * gradient
        second[new] = self.beta2 * second[new] + (1 - self.beta2) * gradient**2
        return HeadMoments(every, first, second, self.step + 1, self.beta1, self.beta2)
