"""Candidates of one prompt with a judge's verdicts, and which of them become pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from prefopt.composition import Part
from prefopt.games.slots import Solver
from prefopt.offline.slots import PairSource

Origin = Literal["policy", "opponent", "reference", "teacher"]
"""Who wrote a candidate: the policy at the start of the iteration, the mixture that it plays against, the reference
that the whole game stays near, or somebody else, whose answer stands in the data."""


@dataclass(frozen=True)
class Judged:
    """K candidates of one prompt.

    Attributes:
        wins: ``(K, K)``; ``wins[i, j]`` is the probability that i beats j, 1/2 on the diagonal, NaN = no verdict.
        origins: K of `Origin`.
        scores: ``(K,)``, NaN = none; None where the judge compares but does not score.
        broken: ``(K,)`` bool: repeats itself; never the better one of a pair.
    """

    wins: Tensor
    origins: tuple[Origin, ...]
    scores: Tensor | None = None
    broken: Tensor | None = None

    def __post_init__(self) -> None:
        count = len(self.origins)
        if tuple(self.wins.shape) != (count, count):
            raise ValueError(f"wins has shape {tuple(self.wins.shape)}, expected ({count}, {count})")
        outside = (self.wins < 0) | (self.wins > 1)
        if outside.any():
            i, j = outside.nonzero()[0].tolist()
            raise ValueError(f"wins[{i}, {j}] is {float(self.wins[i, j]):g}; a probability, or NaN for no verdict")
        if self.scores is not None and self.scores.isinf().any():
            i = int(self.scores.isinf().nonzero()[0])
            raise ValueError(f"the score of candidate {i} is {float(self.scores[i])}; NaN says that there is none")
        unknown = set(self.origins) - set(get_args(Origin))
        if unknown:
            raise ValueError(f"unknown origin {sorted(unknown)}; they are {', '.join(get_args(Origin))}")

    def rates(self, others_only: bool) -> Tensor:
        """Return ``(K,)``: mean win rate against all candidates, itself (one half) among them unless ``others_only``.

        NaN where a candidate was not compared with any other. Missing verdicts are left out.
        """
        itself = torch.eye(len(self.origins), dtype=torch.bool)
        known = ~self.wins.isnan() & ~(itself if others_only else torch.zeros_like(itself))
        compared = (known & ~itself).any(1)
        mean = self.wins.nan_to_num().where(known, torch.zeros_like(self.wins)).sum(1) / known.sum(1).clamp(min=1)
        return mean.where(compared, torch.full_like(mean, torch.nan))


@dataclass(frozen=True)
class Choice:
    """A pair: numbers of two candidates, and its labels by the names of ``prefopt.batch.NEEDS``."""

    chosen: int
    rejected: int
    labels: Mapping[str, float] = field(default_factory=dict)


class PairChoice(Part):
    """Which candidates of a prompt become pairs. Candidates without a verdict stand in none.

    ``keeps_equal`` says that a pair of equal answers teaches too: its loss has a gradient that is not one of their
    difference. ``reads_scores`` says that it takes a judge that scores.
    """

    keeps_equal: ClassVar[bool] = False
    reads_scores: ClassVar[bool] = False

    def __call__(self, judged: Judged, random: torch.Generator) -> list[Choice]:
        """Return the pairs; none where nothing can be learnt from the prompt."""
        raise NotImplementedError


@dataclass(frozen=True)
class Candidates(Part):
    """Which answers are drawn for each prompt of an iteration.

    Attributes:
        policy: by the policy as it is at the start of the iteration.
        opponent: from the mixture ``softmax((1 - mixture) logits_policy + mixture logits_reference)``.
        reference: by the reference.
        teacher: taken from a column of the data.
        mixture: weight of the reference in the opponent's logits.
        temperature, top_p: of everything that is drawn.
    """

    policy: int = 2
    opponent: int = 0
    reference: int = 0
    teacher: int = 0
    mixture: float = 0.0
    temperature: float = 1.0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if self.policy < 1 or min(self.opponent, self.reference, self.teacher) < 0 or len(self.origins) < 2:
            raise ValueError("candidates: at least one of the policy's own and two in all")
        if not 0 <= self.mixture <= 1:
            raise ValueError(f"mixture must lie in [0, 1], not {self.mixture}")
        if not self.temperature > 0 or not 0 < self.top_p <= 1:
            raise ValueError(f"temperature must be positive and top_p in (0, 1], not {self.temperature}, {self.top_p}")

    @property
    def origins(self) -> tuple[Origin, ...]:
        """Who writes each candidate, in their order."""
        return tuple(origin for origin in get_args(Origin) for _ in range(getattr(self, origin)))

    @property
    def reads_reference(self) -> bool:
        """Whether the reference is asked for answers or logits."""
        return self.reference > 0 or (self.opponent > 0 and self.mixture > 0)


@dataclass(frozen=True)
class Played(PairSource):
    """Pairs that the policy plays for itself: in each iteration candidates are drawn, judged and chosen from.

    Attributes:
        candidates: what is drawn. choice: which of them become pairs.
        ideal: the step on exact win rates that an iteration approximates; nothing in the loop calls it.
        history: share of the previous iteration's pairs that is mixed in, halved for each iteration further back.
    """

    candidates: Candidates
    choice: PairChoice
    ideal: Solver
    history: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.history <= 1:
            raise ValueError(f"history must lie in [0, 1], not {self.history}")
