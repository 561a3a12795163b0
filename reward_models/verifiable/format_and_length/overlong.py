"""A penalty that grows as a completion comes near the limit of its length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reward_models.errors import ModelError
from reward_models.formatting import Text
from reward_models.verifiable.lengths import check_unit, lengths_of


@dataclass(frozen=True)
class SoftOverlong:
    """0 up to ``max_length - cache``, then ``(max_length - cache - L) / cache`` down to -1, and -1 beyond max_length.

    Reference: arXiv 2503.14476 (DAPO).
    """

    max_length: int
    cache: int
    unit: str = "tokens"

    def __post_init__(self) -> None:
        if not 0 < self.cache <= self.max_length:
            raise ModelError(f"soft_overlong needs 0 < cache <= max_length, not {self.cache} and {self.max_length}")
        check_unit(self.unit, "soft_overlong")

    def __call__(
        self,
        prompts: Sequence[Text],
        completions: Sequence[Text],
        completion_ids: Sequence[Sequence[int]] | None = None,
        **columns: Any,
    ) -> list[float]:
        """Return a score in [-1, 0] a completion."""
        return [self.score(length) for length in lengths_of(self.unit, completions, completion_ids, "soft_overlong")]

    def score(self, length: int) -> float:
        """Score one length."""
        return min(0.0, max(-1.0, (self.max_length - self.cache - length) / self.cache))
