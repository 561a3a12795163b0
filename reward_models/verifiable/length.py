"""How close a completion comes to a wanted length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reward_models.errors import ModelError
from reward_models.formatting import Text
from reward_models.verifiable.lengths import check_unit, lengths_of


@dataclass(frozen=True)
class Length:
    """``r_i = max(0, 1 - |L_i - target| / width)``: 1 at the target, falling to 0 at ``width`` from it.

    Attributes:
        target: the wanted length.
        width: distance at which nothing is left; None = ``target``, so that an empty completion gets 0.
        unit: words (split at blanks), characters, or tokens (of the policy; wherever the caller gives completion_ids).
    """

    target: float
    width: float | None = None
    unit: str = "words"

    def __post_init__(self) -> None:
        if self.target < 0 or (self.width if self.width is not None else self.target) <= 0:
            raise ModelError(f"length needs target >= 0 and width > 0, not target={self.target}, width={self.width}")
        check_unit(self.unit, "length")

    def __call__(
        self,
        prompts: Sequence[Text],
        completions: Sequence[Text],
        completion_ids: Sequence[Sequence[int]] | None = None,
        **columns: Any,
    ) -> list[float]:
        """Return a score in [0, 1] a completion."""
        lengths = lengths_of(self.unit, completions, completion_ids, "length")
        width = self.width if self.width is not None else self.target
        return [max(0.0, 1 - abs(length - self.target) / width) for length in lengths]
