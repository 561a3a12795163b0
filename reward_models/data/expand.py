"""From good rows to pairs: rows that share a prompt are joined, rated answers compared, ties dropped or kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from reward_models.data.examples import Candidates, Example, Pair
from reward_models.data.pairing import make_pairs
from reward_models.data.tally import Tally
from reward_models.data.validation import GoodRow


def pairs_of(rows: Iterable[GoodRow], joins_rows: bool, pair_rule: str, ties: str, tally: Tally) -> Iterator[Pair]:
    """All pairs, each counted by the tally.

    With ``ties="soft"`` every pair carries `label_chosen_preferred`: 0.5 for a tie, 1 where nothing else is known.
    """
    for row in joined(rows) if joins_rows else rows:
        pairs = [pair for example in row.examples for pair in _pairs(example, pair_rule)]
        kept = [pair for pair in pairs if ties == "soft" or not pair.is_tie]
        tally.ties += sum(pair.is_tie for pair in pairs)
        tally.without_pairs += not kept
        for pair in kept:
            tally.add_pair(row.row_number, pair)
            yield _labelled(pair) if ties == "soft" else pair


def _pairs(example: Example, rule: str) -> list[Pair]:
    if isinstance(example, Candidates):
        return make_pairs(example, rule)
    return [example] if isinstance(example, Pair) else []


def _labelled(pair: Pair) -> Pair:
    return pair if pair.label_chosen_preferred is not None else replace(pair, label_chosen_preferred=1.0)


def joined(rows: Iterable[GoodRow]) -> Iterator[GoodRow]:
    """Consecutive rows of one answer each become one row of several answers where their prompts are equal."""
    group: GoodRow | None = None
    for row in rows:
        merged = _merge(group, row) if group else None
        if group and merged is None:
            yield group
        group = merged or row
    if group:
        yield group


def _merge(first: GoodRow, second: GoodRow) -> GoodRow | None:
    (a,), (b,) = first.examples, second.examples
    if not isinstance(a, Candidates) or not isinstance(b, Candidates):
        return None
    if a.prompt != b.prompt or first.source != second.source:
        return None
    return replace(first, examples=[replace(a, answers=(*a.answers, *b.answers))])
