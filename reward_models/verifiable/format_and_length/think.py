"""Whether a completion thinks first and answers then."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reward_models.formatting import Text
from reward_models.verifiable.texts import text_of

FORM = re.compile(r"<think>\n.*?\n</think>\n<answer>\n.*?\n</answer>", re.DOTALL)


@dataclass(frozen=True)
class ThinkFormat:
    r"""``r_i = 1`` if the whole completion is ``<think>\n..\n</think>\n<answer>\n..\n</answer>``, else 0."""

    def __call__(self, prompts: Sequence[Text], completions: Sequence[Text], **columns: Any) -> list[float]:
        """Return 1 or 0 a completion."""
        return [float(FORM.fullmatch(text_of(completion)) is not None) for completion in completions]
