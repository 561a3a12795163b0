"""Whether a completion goes step by step."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reward_models.errors import ModelError
from reward_models.formatting import Text
from reward_models.verifiable.texts import text_of

MARKS = re.compile(r"\bStep \d+:|^\s*\d+[.)]\s|^\s*[-*]\s|\b(?:First|Second|Third|Next|Finally),", re.MULTILINE)


@dataclass(frozen=True)
class ReasoningSteps:
    """``r_i = min(1, n_i / steps)``, n_i the marks of a step: ``Step 1:``, items of a list, ``First,`` ..."""

    steps: int = 3

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ModelError(f"reasoning_steps: steps must be at least 1, not {self.steps}")

    def __call__(self, prompts: Sequence[Text], completions: Sequence[Text], **columns: Any) -> list[float]:
        """Return a score in [0, 1] a completion."""
        return [min(1.0, len(MARKS.findall(text_of(completion))) / self.steps) for completion in completions]
