"""Programs with one token changed."""

from __future__ import annotations

import io
import keyword
import random
import tokenize

SWAPS = {
    "+": "-", "-": "+", "*": "+", "/": "*", "//": "*", "%": "*", "**": "*",
    "<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==",
    "+=": "-=", "-=": "+=", "*=": "+=",
    "and": "or", "or": "and", "not": "", "True": "False", "False": "True", "min": "max", "max": "min",
    "in": "not in", "is": "is not", "break": "continue", "continue": "break",
}  # fmt: skip


def mutants(prefix: str, body: str, most: int, seed: int) -> list[str]:
    """Return bodies that differ from ``body`` in one operator, number, text or word of the language, at most so many.

    A number is raised by one, a text has an x at its end. Where there are more, which ones is drawn by the seed.
    """
    found = []
    lines = (prefix + body).splitlines(keepends=True)
    for token in tokenize.generate_tokens(io.StringIO(prefix + body).readline):
        changed = _changed(token)
        if changed is None:
            continue
        (row, start), (_, end) = token.start, token.end
        line = lines[row - 1]
        whole = "".join([*lines[: row - 1], line[:start] + changed + line[end:], *lines[row:]])
        if whole.startswith(prefix):
            found.append(whole[len(prefix) :])
    random.Random(seed).shuffle(found)
    return found[:most]


def _changed(token: tokenize.TokenInfo) -> str | None:
    if token.type == tokenize.NUMBER and token.string.isdigit():
        return str(int(token.string) + 1)
    if token.type == tokenize.STRING and not token.string.endswith('"""'):
        return token.string[:-1] + "x" + token.string[-1]
    if token.type == tokenize.OP or keyword.iskeyword(token.string) or token.string in ("min", "max"):
        return SWAPS.get(token.string)
    return None
