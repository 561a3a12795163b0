"""A reward for completions whose second halves, drawn again, come to the same answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.slots import Weighting
from prefopt.weighting.weighted_sum import WeightedSum


def distinct_answers(answers: Tensor) -> Tensor:
    """Return ``(B,)``: how many different values each row of ``answers`` ``(B, M)`` holds."""
    ordered, _ = answers.sort(dim=-1)
    return 1 + (ordered[:, 1:] != ordered[:, :-1]).sum(-1)


@dataclass(frozen=True)
class Consistency(Weighting):
    """``s_i = sum_k w_k r_{i,k} + per_answer * (offset - |A_i|)``, ``A_i`` the distinct answers of M continuations.

    Each completion is cut, M continuations are drawn from there, and their answers are counted; continuations without
    an answer count together as one. With ``offset = M`` this is the paper's ``c (M - |A|) / M`` for
    ``c = M * per_answer``. A consistent wrong answer is paid, too, unless ``only_correct``.

    Attributes:
        weights: one a source; None = 1 each.
        per_answer: what one more distinct answer costs; 0.3 is the released code's, the paper's was not to be had.
        offset: None = M; the released code has 5 for M = 4.
        only_correct: multiply the term by the reward of source 0.

    Reference: self-consistency sampling, arXiv 2511.10648.
    """

    weights: tuple[float, ...] | None = None
    per_answer: float = 0.3
    offset: int | None = None
    only_correct: bool = False
    needs: ClassVar[frozenset[str]] = frozenset({"resampled_answers"})
    arxiv: ClassVar[str] = "2511.10648"

    def __call__(self, values: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B,)`` from rewards ``(B, K)``."""
        answers = rollouts.extras["resampled_answers"]
        offset = answers.shape[1] if self.offset is None else self.offset
        term = self.per_answer * (offset - distinct_answers(answers)).double()
        if self.only_correct:
            term = term * values[:, 0].double().nan_to_num()
        return (WeightedSum(self.weights)(values, rollouts).double() + term).to(values.dtype)

    def nominal(self, sources: int) -> Tensor:
        """Return the weights ``(K,)`` of the sources."""
        return WeightedSum(self.weights).nominal(sources)
