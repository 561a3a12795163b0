"""Several rated answers to one prompt become pairs, by one of three rules.

``all``            every two answers with different ratings, the higher one chosen (Ouyang et al., arXiv 2203.02155).
``best_vs_lower``  each answer of the highest rating against each answer below it.
``best_vs_worst``  the first answer of the highest rating against the first of the lowest.

The margin is the gap between the two ratings. Answers of equal rating are ties: they are dropped, or with
``ties="soft"`` kept with ``label_chosen_preferred = 0.5`` and margin 0. Two answers with the same words are no pair.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from typing import TypeAlias

from reward_models.data.examples import Answer, Candidates, Pair, plain_text

Comparisons: TypeAlias = Iterator[tuple[Answer, Answer]]


def _all(answers: tuple[Answer, ...]) -> Comparisons:
    yield from combinations(answers, 2)


def _best_vs_lower(answers: tuple[Answer, ...]) -> Comparisons:
    best = max(answer.rating for answer in answers)
    yield from ((a, b) for a, b in combinations(answers, 2) if best in (a.rating, b.rating))


def _best_vs_worst(answers: tuple[Answer, ...]) -> Comparisons:
    best = max(answers, key=lambda answer: answer.rating)
    worst = min((answer for answer in answers if answer is not best), key=lambda answer: answer.rating)
    yield best, worst


PAIR_RULES: Mapping[str, Callable[[tuple[Answer, ...]], Comparisons]] = {
    "all": _all,
    "best_vs_lower": _best_vs_lower,
    "best_vs_worst": _best_vs_worst,
}


def make_pairs(candidates: Candidates, rule: str) -> list[Pair]:
    """Pairs of the answers, ties included (the caller drops or keeps them), in the order of the answers."""
    answers = distinct(candidates.answers)
    if len(answers) < 2:
        return []
    return [compare(candidates, a, b) for a, b in PAIR_RULES[rule](answers) if a.response != b.response]


def distinct(answers: tuple[Answer, ...]) -> tuple[Answer, ...]:
    """The answers, those with the same words and the same rating only once."""
    first = {(plain_text(answer.response).strip(), answer.rating): answer for answer in reversed(answers)}
    return tuple(reversed(first.values()))


def compare(candidates: Candidates, first: Answer, second: Answer) -> Pair:
    """The pair of two answers, the higher rating chosen; the first one where they are equal."""
    chosen, rejected = (first, second) if first.rating >= second.rating else (second, first)
    attributes = {
        **candidates.attributes,
        "chosen_rating": chosen.rating,
        "rejected_rating": rejected.rating,
        **{f"chosen_{name}": value for name, value in chosen.attributes.items()},
        **{f"rejected_{name}": value for name, value in rejected.attributes.items()},
    }
    tie = chosen.rating == rejected.rating
    return Pair(
        candidates.prompt,
        chosen.response,
        rejected.response,
        margin=chosen.rating - rejected.rating,
        label_chosen_preferred=0.5 if tie else None,
        attributes=attributes,
    )
