"""Confident steps learn faster, and steps that lead to confident ones are paid for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.choice import check_choice
from prefopt.online.min_max import min_max
from prefopt.online.slots import Adjustment

Segments = Literal["turns", "steps"]


@dataclass(frozen=True)
class EntropyModulation(Adjustment):
    """``A_{i,s} <- A_i g(H_{i,s}) + zeta f(H_{i,s+1})``, less its mean over all steps of the batch.

    ``H`` is the mean entropy of a step's tokens, scaled to [0, 1] by the least and the largest of the batch. ``g(H) =
    exp(-sharpness H)`` over its mean, so that the mean of g is 1; ``f(H) = exp(-foresight H)``; the last step of a
    completion has no next one and no bonus. Every token of a step gets its value. Failed completions get the bonus,
    too.

    Attributes:
        sharpness: k. foresight: k'. zeta: weight of the bonus.
        segments: what a step is: an assistant's ``turns``, or the ``steps`` of a chain of thought.

    Reference: EMPG, arXiv 2509.09265.
    """

    sharpness: float = 1.0
    foresight: float = 1.0
    zeta: float = 0.1
    segments: Segments = "turns"
    arxiv: ClassVar[str] = "2509.09265"

    def __post_init__(self) -> None:
        check_choice("segments", self.segments, Segments)

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        """Entropies, and the numbers of turns or steps."""
        return frozenset({"entropies", self._numbers})

    @property
    def _numbers(self) -> str:
        return "turn_ids" if self.segments == "turns" else "step_ids"

    def __call__(self, advantages: Tensor, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B, T)``."""
        rows, tokens = rollouts.mask.nonzero(as_tuple=True)
        if len(rows) == 0:
            return advantages
        number = rollouts.extras[self._numbers].long()[rows, tokens]
        step_row, step, size = _steps(rows, number)

        def mean_of(values: Tensor) -> Tensor:
            total = torch.zeros(len(size), dtype=torch.float64, device=values.device)
            return total.index_add(0, step, values[rows, tokens].double()) / size

        entropy = min_max(mean_of(rollouts.extras["entropies"]))
        weight = (-self.sharpness * entropy).exp()
        weight = weight / weight.mean()
        followed = torch.nn.functional.pad(step_row[1:] == step_row[:-1], (0, 1))
        bonus = self.zeta * (-self.foresight * entropy.roll(-1)).exp().where(followed, 0.0)
        centre = (mean_of(advantages) * weight + bonus).mean()
        found = advantages.double()
        found[rows, tokens] = found[rows, tokens] * weight[step] + bonus[step] - centre
        return found


def _steps(rows: Tensor, number: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the row of each step that has a token, in order, each token's place among them, and their sizes."""
    spread = number - number.min()
    width = spread.max() + 1
    distinct, step, size = torch.unique(rows * width + spread, return_inverse=True, return_counts=True)
    return distinct // width, step, size.double()
