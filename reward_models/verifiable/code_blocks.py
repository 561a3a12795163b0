"""The program in a completion."""

from __future__ import annotations

import re
from dataclasses import dataclass

# Possessive: a line that is no fence after all is not tried once more for each of its signs and blanks.
FENCE = re.compile(r"([ \t]*+)(`{3,}+|~{3,}+)[ \t]*+([^`\n]*+)")
PYTHON = ("python", "python3", "py", "py3")


@dataclass(frozen=True)
class Block:
    """A fenced block: the first word after the opening fence, in lower case, and what stands inside."""

    language: str
    text: str


def program_of(completion: str) -> tuple[str, bool]:
    """Return the program, and whether it stood in a fence.

    It is the last block that says it is Python, else the last one that does not say what it is, else the whole.
    """
    blocks = fenced_blocks(completion)
    for wanted in (PYTHON, ("",)):
        found = [block.text for block in blocks if block.language in wanted]
        if found:
            return found[-1], True
    return completion, False


def fenced_blocks(text: str) -> list[Block]:
    """Return all blocks in their order.

    As in CommonMark a fence begins its line, ends with one of the same sign that is at least as long and has nothing
    beside it, and without an end the block goes on to the end of the text. The indentation of the opening fence is
    taken from each line of the block.
    """
    blocks: list[Block] = []
    opened: tuple[str, str, str] | None = None
    lines: list[str] = []
    for line in text.split("\n"):
        fence = FENCE.fullmatch(line.rstrip())
        if opened is None:
            if fence:
                words = fence[3].strip(" {}.").split()
                opened, lines = (fence[1], fence[2], words[0].lower() if words else ""), []
        elif fence and not fence[3] and fence[2].startswith(opened[1]):
            blocks.append(Block(opened[2], "\n".join(lines) + "\n"))
            opened = None
        else:
            lines.append(_without(line, opened[0]))
    if opened is not None:
        blocks.append(Block(opened[2], "\n".join(lines)))
    return blocks


def _without(line: str, indentation: str) -> str:
    return line[len(indentation) :] if line.startswith(indentation) else line.lstrip(" \t") if indentation else line
