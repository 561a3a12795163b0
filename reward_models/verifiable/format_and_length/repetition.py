"""A penalty for saying the same words again and again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reward_models.errors import ModelError
from reward_models.formatting import Text
from reward_models.verifiable.texts import text_of


@dataclass(frozen=True)
class Repetition:
    """``r_i = -(1 - distinct n-grams / n-grams) * penalty``, of lower-case words; 0 for fewer than n words.

    Attributes:
        ngram: n. penalty: what a completion of a single word approaches. Neither has a default that would be safe.
    """

    ngram: int
    penalty: float

    def __post_init__(self) -> None:
        if self.ngram < 1:
            raise ModelError(f"repetition_penalty: ngram must be at least 1, not {self.ngram}")

    def __call__(self, prompts: Sequence[Text], completions: Sequence[Text], **columns: Any) -> list[float]:
        """Return a score in [-penalty, 0] a completion; the sign of ``penalty`` does not matter."""
        return [self.score(text_of(completion)) for completion in completions]

    def score(self, text: str) -> float:
        """Score one text."""
        words = text.lower().split()
        grams = [tuple(words[start : start + self.ngram]) for start in range(len(words) - self.ngram + 1)]
        return -(1 - len(set(grams)) / len(grams)) * abs(self.penalty) if grams else 0.0
