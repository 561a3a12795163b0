"""A length that pays by a cosine: short right answers most, short wrong ones least."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from reward_models.errors import ModelError
from reward_models.formatting import Text
from reward_models.verifiable.format_and_length.correctness import build_judge, columns_read, correctness
from reward_models.verifiable.lengths import check_unit, lengths_of


@dataclass(frozen=True)
class CosineLength:
    """``r_i = long + (short - long) (1 + cos(pi L_i / max_length)) / 2``, ``short`` at L = 0, ``long`` at max_length.

    Right: from 1.0 down to 0.5. Wrong: from -1.0 up to -0.5, so a wrong answer should not come cheap. Longer than
    ``max_length`` counts as ``max_length``, where the cosine would turn back. None where correctness is not known.

    Attributes:
        max_length: in ``unit``: tokens (from a trainer), words or characters.
        correct: verifier that says what is right, a name or ``{source: name, settings: {...}}``; None reads a column.

    Columns: ``correct``, or what that verifier reads. Reference: arXiv 2502.03373.
    """

    max_length: int = 1000
    right_short: float = 1.0
    right_long: float = 0.5
    wrong_short: float = -1.0
    wrong_long: float = -0.5
    unit: str = "tokens"
    correct: Any = None

    def __post_init__(self) -> None:
        if self.max_length < 1:
            raise ModelError(f"cosine: max_length must be at least 1, not {self.max_length}")
        check_unit(self.unit, "cosine")
        self.judge  # noqa: B018  refuses an unknown verifier now

    @cached_property
    def judge(self) -> Any:
        """The verifier of correctness, or None for a column."""
        return build_judge(self.correct, "cosine")

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns that it needs: those of the verifier of correctness, or ``correct``."""
        return columns_read(self.judge)

    def __call__(
        self,
        prompts: Sequence[Text],
        completions: Sequence[Text],
        completion_ids: Sequence[Sequence[int]] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """Return a score a completion."""
        lengths = lengths_of(self.unit, completions, completion_ids, "cosine")
        known = {**columns, "completion_ids": completion_ids}
        right = correctness(self.judge, prompts, completions, known, "cosine")
        return [None if ok is None else self.score(length, ok) for length, ok in zip(lengths, right, strict=True)]

    def score(self, length: int, right: bool) -> float:
        """Score one length."""
        short, long = (self.right_short, self.right_long) if right else (self.wrong_short, self.wrong_long)
        return long + (short - long) * (1 + math.cos(math.pi * min(1.0, length / self.max_length))) / 2
