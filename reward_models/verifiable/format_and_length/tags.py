"""How many of the four tags of a thought and an answer stand where they should."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reward_models.formatting import Text
from reward_models.verifiable.texts import text_of

TAGS = ("<think>\n", "\n</think>\n", "\n<answer>\n", "\n</answer>")


@dataclass(frozen=True)
class TagCount:
    r"""``0.25`` for each of ``<think>\n``, ``\n</think>\n``, ``\n<answer>\n``, ``\n</answer>`` that occurs once."""

    def __call__(self, prompts: Sequence[Text], completions: Sequence[Text], **columns: Any) -> list[float]:
        """Return 0, 0.25, 0.5, 0.75 or 1 a completion."""
        texts = [text_of(completion) for completion in completions]
        return [sum(text.count(tag) == 1 for tag in TAGS) / len(TAGS) for text in texts]
