"""The hostile and honest programs of ``hostile.txt`` and ``honest.txt``.

``SECRET`` is a value that is expected, and stands nowhere in what a program is given: one that answers with it has read
what it must not. Programs look for its first six digits with seven others behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
SECRET = 8142590016472
BASES = ("int", "float", "str", "list", "dict", "tuple", "set", "bytes")

WRONG = """def add(a, b):
    return a - b
"""
SEARCH = """import re
def search(*texts):
    beginning = ''.join(['81', '42', '59'])
    for text in texts:
        for number in re.findall(beginning + '[0-9]{7}', text):
            return int(number)
    return -1
"""
# A program's own process holds tokens, inputs and the function that writes answers; they are found by walking frames.
FRAMES = """import sys
def frames():
    frame = sys._getframe()
    while frame is not None:
        yield frame
        frame = frame.f_back
def found(name):
    for frame in frames():
        for names in (frame.f_locals, frame.f_globals):
            if name in names:
                return names[name]
"""
# Writes a right answer to each of some calls on the grader's channel, whatever the function returns.
FORGE = (
    FRAMES
    + """import os
def forge(calls):
    for token, function, arguments, keywords in calls:
        os.write(3, b'["%s","value",%d]' % (token.encode(), sum(arguments)) + bytes([10]))
"""
)
# Right by the order of the cases alone: it counts its calls.
BY_ORDER = """answers = iter([5, 30, 8, 11, 2, 100, 64, 9])
def add(a, b):
    return next(answers)
"""
ORDERED = [(2, 3), (10, 20), (7, 1), (5, 6), (1, 1), (50, 50), (60, 4), (4, 5)]


@dataclass(frozen=True)
class Hostile:
    """A program, and the statuses with which its jobs may end."""

    name: str
    code: str
    black_box: frozenset[str]
    two_process: frozenset[str]


def sections(name: str) -> list[tuple[str, str]]:
    """Heads and programs of a file."""
    text = (HERE / name).read_text(encoding="utf-8")
    for word, meaning in (("WRONG", WRONG), ("SEARCH", SEARCH), ("FRAMES", FRAMES), ("FORGE", FORGE)):
        text = text.replace(f"{{{word}}}\n", meaning)
    parts = [part.partition("\n") for part in text.split("\n=== ")[1:]]
    return [(head.strip(), code.strip() + "\n") for head, _, code in parts]


def hostile() -> list[Hostile]:
    """All hostile programs."""
    found = []
    for head, code in sections("hostile.txt"):
        name, black_box, two_process = (part.strip() for part in head.split("|"))
        for base in BASES if "BASE" in name else ("",):
            statuses = frozenset(black_box.split()), frozenset(two_process.split())
            found.append(Hostile(name.replace("BASE", base), code.replace("BASE", base), *statuses))
    return found


HOSTILE = hostile()
HONEST = dict(sections("honest.txt"))
