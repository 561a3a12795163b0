"""Where the answer of a mathematical text stands: one place, whatever else the text offers."""

from __future__ import annotations

import re
from dataclasses import dataclass

BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
TAG = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
MARK, THOUGHT = "####", "</think>"
LEAD = re.compile(r"(?i)\banswer(?:\s+is\b\s*:?|\s*[:=])|^\s*A\s*:")
COMMAND = re.compile(r"\\[A-Za-z]+")
WORD = re.compile(r"[A-Za-z]{3}")
LONGEST = 2000


@dataclass(frozen=True)
class FinalAnswer:
    """``text`` is the answer and nothing else where ``exact``, else a line that ends with it."""

    text: str
    exact: bool


def final_answer(text: str) -> FinalAnswer | None:
    r"""Return the answer that counts, or None where there is none.

    What a text says after its last ``</think>`` counts. There, the first of these that is found: its last
    ``\boxed{}``; what stands in its last ``<answer>`` tags; what follows its last ``####``; its last line with a letter
    or digit, from ``answer is``, ``answer:`` or a first ``A:`` on. So of several boxes the last one counts, no other;
    an empty or unclosed last box is no answer, and so is one of more than 2,000 characters.
    """
    text = text.rsplit(THOUGHT, 1)[-1]
    marked, found = _marked(text)
    return found if marked else _last_line(text)


def reference_answer(text: str) -> FinalAnswer | None:
    """Return the answer of a reference: as for a completion, but a single line without a mark is all answer."""
    marked, found = _marked(text)
    if marked or "\n" in text.strip():
        return found if marked else _last_line(text)
    return _shortened(LEAD.split(text)[-1], exact=True)


def _marked(text: str) -> tuple[bool, FinalAnswer | None]:
    boxes = list(BOX.finditer(text))
    if boxes:
        content = _braced(text, boxes[-1].end())
        return True, None if content is None else _shortened(content, exact=True)
    if tags := TAG.findall(text):
        return True, _shortened(tags[-1])
    if MARK in text:
        return True, _shortened(text.rsplit(MARK, 1)[-1])
    return False, None


def _last_line(text: str) -> FinalAnswer | None:
    lines = [line for line in text.split("\n") if re.search(r"\w", line)]
    return _shortened(LEAD.split(lines[-1])[-1]) if lines else None


def _shortened(text: str, exact: bool | None = None) -> FinalAnswer | None:
    """Take off marks of mathematics, emphasis and sentences; without words in it, a text is all answer."""
    text = text.replace(r"\$", "$").rstrip("*. \t\n").lstrip("* \t\n")
    for opening, closing in (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]")):
        if text.startswith(opening) and text.endswith(closing) and len(text) > len(opening):
            text = text[len(opening) : -len(closing)].strip()
    if not text or len(text) > LONGEST:
        return None
    if exact is None:
        exact = "$" not in text[1:] and not WORD.search(COMMAND.sub(" ", text))
    return FinalAnswer(text.removeprefix("$") if exact else text, exact)


def _braced(text: str, start: int) -> str | None:
    """What stands between the brace before ``start`` and the one that closes it."""
    depth, position = 1, start
    while position < len(text):
        if text[position] == "\\":
            position += 1
        elif text[position] in "{}":
            depth += 1 if text[position] == "{" else -1
            if not depth:
                return text[start:position]
        position += 1
    return None
