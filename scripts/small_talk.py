"""The little language of the sample data: sums of two numbers, answered in many manners.

A question asks for a sum or a difference of two two-digit numbers. An answer has an opening, a body and a closing.
The body is worked (``70 and 15 make 85.``), stated (``The answer is 85.``), bare (``85.``), a guess
(``Maybe 87.``) or a dodge (``I do not know.``); the opening and the closing are polite, plain or rude. A worked
body is nearly always right; a stated or bare one is right less often than it is one short. So the manners pull
apart: working and courtesy cost words, brevity costs accuracy.

All draws go through ``random.Random.random``, the one method whose sequence Python promises to keep.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

Choice = TypeVar("Choice")

QUESTIONS = (
    "What is {sum}?",
    "How much is {sum}?",
    "Can you tell me {sum}?",
    "Please tell me {sum}.",
)
OPENINGS = {
    "polite": ("Sure!", "Of course!", "Good question!", "Happy to help!"),
    "plain": ("",),
    "rude": ("Really?", "Not again.", "Oh please.", "You should know."),
}
CLOSINGS = {
    "polite": ("Glad to help!", "Anything else?", "Have a nice day!"),
    "plain": ("",),
    "rude": ("Now leave.", "Go away."),
}
DODGES = ("I do not know.", "Ask someone else.")
STATEMENTS = ("The answer is {number}.", "It is {number}.")

BODY_SHARES = {"worked": 0.15, "stated": 0.25, "bare": 0.30, "guess": 0.20, "dodge": 0.10}
OPENING_SHARES = {"polite": 0.25, "plain": 0.45, "rude": 0.30}
CLOSING_SHARES = {
    "polite": {"polite": 0.50, "plain": 0.50, "rude": 0.00},
    "plain": {"polite": 0.10, "plain": 0.80, "rude": 0.10},
    "rude": {"polite": 0.00, "plain": 0.60, "rude": 0.40},
}
RIGHT_SHARES = {"worked": 0.95, "stated": 0.30, "bare": 0.30, "guess": 0.10, "dodge": 0.0}
SLIP_SHARE = 0.55
"""Share of the wrong answers that are exactly one short: the commonest mistake is a habit, not noise."""


@dataclass(frozen=True)
class Sum:
    """``first plus second`` or ``first minus second``, with two-digit numbers and a positive result."""

    first: int
    sign: str
    second: int

    @property
    def total(self) -> int:
        return self.first + self.second if self.sign == "plus" else self.first - self.second

    @property
    def held_out(self) -> bool:
        """Whether this sum is never trained on. ``37 plus 48`` and ``48 plus 37`` fall on the same side."""
        numbers = sorted((self.first, self.second))
        return zlib.crc32(f"{numbers[0]} {self.sign} {numbers[1]}".encode()) % 10 == 0

    def question(self, rng: random.Random) -> str:
        return pick(QUESTIONS, rng).format(sum=f"{self.first} {self.sign} {self.second}")


@dataclass(frozen=True)
class Answer:
    """An answer with what its author knows about it."""

    text: str
    opening: str
    body: str
    closing: str
    right: bool


def pick(items: Sequence[Choice], rng: random.Random) -> Choice:
    """Draw one item uniformly."""
    return items[int(rng.random() * len(items))]


def draw(shares: Mapping[str, float], rng: random.Random) -> str:
    """Draw a key with probability proportional to its share."""
    point = rng.random() * sum(shares.values())
    for name, share in shares.items():
        point -= share
        if point < 0:
            return name
    return name


def all_sums(held_out: bool) -> list[Sum]:
    """Every sum on one side of the split, in a fixed order."""
    numbers = range(10, 100)
    sums = [Sum(a, "plus", b) for a in numbers for b in numbers]
    sums += [Sum(a, "minus", b) for a in numbers for b in numbers if a > b]
    return [each for each in sums if each.held_out == held_out]


def mistaken(total: int, rng: random.Random) -> int:
    """A wrong result: one short, ten off, or a few off."""
    if rng.random() < SLIP_SHARE:
        return total - 1
    offset = pick((-10, 10, 1, 2, -2, 3, -3), rng)
    return total + offset if total + offset >= 0 else total - offset


def working(question: Sum, number: int) -> str:
    """Tens first, then units: ``37 plus 48`` is ``70 and 15``, ``85 minus 48`` is ``40 less 3``."""
    direction = 1 if question.sign == "plus" else -1
    tens = question.first // 10 * 10 + direction * (question.second // 10 * 10)
    units = question.first % 10 + direction * (question.second % 10)
    return f"{tens} {'and' if units >= 0 else 'less'} {abs(units)} make {number}."


def answer(question: Sum, rng: random.Random, body: str | None = None) -> Answer:
    """Draw an answer from the mixture; ``body`` fixes its kind."""
    body = body or draw(BODY_SHARES, rng)
    opening = draw(OPENING_SHARES, rng)
    closing = draw(CLOSING_SHARES[opening], rng)
    right = rng.random() < RIGHT_SHARES[body]
    number = question.total if right else mistaken(question.total, rng)
    sentence = {
        "worked": lambda: working(question, number),
        "stated": lambda: pick(STATEMENTS, rng).format(number=number),
        "bare": lambda: f"{number}.",
        "guess": lambda: f"Maybe {number}.",
        "dodge": lambda: pick(DODGES, rng),
    }[body]()
    parts = (pick(OPENINGS[opening], rng), sentence, pick(CLOSINGS[closing], rng))
    return Answer(" ".join(filter(None, parts)), opening, body, closing, right)
