"""Lengths that the prompt asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from reward_models.errors import ModelError
from reward_models.formatting import Text
from reward_models.verifiable.format_and_length.correctness import build_judge, columns_read, correctness
from reward_models.verifiable.lengths import check_unit, lengths_of


def _check(rate: float, unit: str, verifier: str) -> None:
    if rate <= 0:
        raise ModelError(f"{verifier}: rate is what a unit of length costs and must be positive, not {rate}")
    check_unit(unit, verifier)


def _targets(columns: dict[str, Any], verifier: str) -> Sequence[float | None]:
    if columns.get("target_length") is None:
        raise ModelError(
            f"{verifier} needs the column 'target_length', the length that each prompt asks for; map one with "
            "`columns: {target_length: COLUMN}`"
        )
    return list(columns["target_length"])


@dataclass(frozen=True)
class TargetLength:
    """``-rate * |L* - L|`` with the length ``L*`` that the prompt asks for: stands beside the reward of the task.

    Attributes:
        rate: what a unit of length costs.
        unit: of lengths: tokens (from a trainer), words or characters.

    Columns: ``target_length``. Reference: INTELLECT-2, arXiv 2505.07291.
    """

    rate: float = 0.0003
    unit: str = "tokens"
    reads: ClassVar[tuple[str, ...]] = ("target_length",)

    def __post_init__(self) -> None:
        _check(self.rate, self.unit, "target_length")

    def __call__(
        self,
        prompts: Sequence[Text],
        completions: Sequence[Text],
        completion_ids: Sequence[Sequence[int]] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """Return a score of at most 0 a completion; None where the prompt asks for no length."""
        targets = _targets(columns, "target_length")
        lengths = lengths_of(self.unit, completions, completion_ids, "target_length")
        pairs = zip(targets, lengths, strict=True)
        return [None if target is None else -self.rate * abs(target - length) for target, length in pairs]


@dataclass(frozen=True)
class LengthLimit:
    """``r * clip(rate * (L* - L) + 0.5, 0, 1)``: a right answer (``r = 1``) within the limit ``L*``, a wrong one 0.

    Half is left at the limit itself, all of it ``0.5 / rate`` below, nothing as far above.

    Attributes:
        rate: what a unit of length costs.
        unit: of lengths: tokens (from a trainer), words or characters.
        correct: verifier that says what is right, a name or ``{source: name, settings: {...}}``; None reads a column.

    Columns: ``target_length``, and ``correct`` or what that verifier reads. Reference: INTELLECT-2, arXiv 2505.07291.
    """

    rate: float = 0.0003
    unit: str = "tokens"
    correct: Any = None

    def __post_init__(self) -> None:
        _check(self.rate, self.unit, "length_limit")
        self.judge  # noqa: B018  refuses an unknown verifier now

    @cached_property
    def judge(self) -> Any:
        """The verifier of correctness, or None for a column."""
        return build_judge(self.correct, "length_limit")

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns that it needs."""
        return ("target_length", *columns_read(self.judge))

    def __call__(
        self,
        prompts: Sequence[Text],
        completions: Sequence[Text],
        completion_ids: Sequence[Sequence[int]] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """Return a score in [0, 1] a completion; None where correctness or the limit is not known."""
        targets = _targets(columns, "length_limit")
        lengths = lengths_of(self.unit, completions, completion_ids, "length_limit")
        known = {**columns, "completion_ids": completion_ids}
        right = correctness(self.judge, prompts, completions, known, "length_limit")
        rows = zip(targets, lengths, right, strict=True)
        return [None if target is None or ok is None else self.score(length, target, ok) for target, length, ok in rows]

    def score(self, length: int, target: float, right: bool) -> float:
        """Score one length."""
        return min(1.0, max(0.0, self.rate * (target - length) + 0.5)) if right else 0.0
