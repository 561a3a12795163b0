"""What a docstring says: its text without sections, its paragraphs, and the beginning of each."""

from __future__ import annotations

import inspect
import re
from typing import Any

SECTIONS = re.compile(r"\n\s*\n?(Attributes|Args|Arguments|Returns|Raises|References?|Example)s?:", re.IGNORECASE)


def prose(owner: Any) -> str:
    """Return a docstring without its sections (attributes, references): what it computes, in its own words."""
    text = inspect.getdoc(owner) or ""
    return SECTIONS.split(f"\n{text}", maxsplit=1)[0].strip()


def paragraphs(text: str) -> list[str]:
    """Return the parts of a text between empty lines."""
    return re.split(r"\n\s*\n", text)


def is_block(paragraph: str) -> bool:
    """Return whether all lines are indented, as those of a formula or a table are."""
    return all(line.startswith("    ") for line in paragraph.splitlines())


def shortened(formula: str, familiar: bool) -> str:
    """Return the first paragraph and, unless it is familiar, blocks and the first sentences of each other paragraph."""
    first, *others = paragraphs(formula)
    return "\n\n".join([first] if familiar else [first, *(_first_sentences(other) for other in others)])


def _first_sentences(paragraph: str, most: int = 160) -> str:
    """Return as many whole sentences as fit into ``most`` characters, at least one, and what is said to be ours.

    Blocks, and what leads to them, stay whole.
    """
    if is_block(paragraph) or paragraph.endswith("::") or len(paragraph) <= most:
        return paragraph
    sentences = re.split(r"(?<=[.:;]) (?=[A-Z])", " ".join(line.strip() for line in paragraph.splitlines()))
    fitting = [" ".join(sentences[: count + 1]) for count in range(len(sentences))]
    whole = max(1, sum(len(beginning) <= most for beginning in fitting))
    reconstructed = [sentence for sentence in sentences[whole:] if "reconstruct" in sentence]
    return " ".join([*sentences[:whole], *reconstructed, "(...)"])
