"""Whether a completion has the form that was asked for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reward_models.errors import ModelError
from reward_models.formatting import Text
from reward_models.verifiable.texts import text_of


@dataclass(frozen=True)
class Format:
    """``r_i = 1 if pattern matches completion_i else 0``.

    Attributes:
        pattern: a Python regular expression; begin it with ``(?s)`` so that ``.`` also matches line ends.
        whole: the whole completion must match, blanks around it apart; False looks for the pattern anywhere.
    """

    pattern: str
    whole: bool = True

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ModelError(f"format: '{self.pattern}' is no regular expression: {error}") from None

    def __call__(self, prompts: Sequence[Text], completions: Sequence[Text], **columns: Any) -> list[float]:
        """Return 1 or 0 a completion."""
        match = re.fullmatch if self.whole else re.search
        return [float(bool(match(self.pattern, text_of(completion).strip()))) for completion in completions]
