"""Look a data set over without loading it: `validate`, and leaks between several sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from reward_models.data.examples import Conversation, plain_text
from reward_models.data.options import LoadOptions
from reward_models.data.policy import BadRowPolicy
from reward_models.data.quarantine import Quarantine
from reward_models.data.reading import KINDS, Reading, read_as, read_as_any
from reward_models.data.report import Report, report_of
from reward_models.data.sources import Data, open_source
from reward_models.data.tally import Tally
from reward_models.data.tokens import TokenLimit
from reward_models.errors import DataError


@dataclass(frozen=True)
class Leak:
    """Prompts that two sets share, and how many examples of the second set have one of them."""

    first: str
    second: str
    prompts: int
    examples: int


def validate(source: Data, **options: Any) -> Report:
    """What a source holds and what is wrong with it; never raises for what a row holds.

    Options: ``split``, ``config``, ``columns``, ``pair_rule``, ``ties`` as in `load_preferences`; ``kind``
    "preferences", "unpaired" or "prompts" (default: the first that the columns allow); ``tokenizer``, ``max_length``
    and ``allow_truncation`` (default False here: rows above ``max_length`` are bad); ``quarantine_path``.
    With ``require_shape`` an empty source and columns that fit no shape are a `DataError`; else each row is bad.
    """
    return validate_splits([source], **options)[0][0]


def validate_splits(sources: Sequence[Data], **options: Any) -> tuple[list[Report], list[Leak]]:
    """One report a source, and the leaks between each two of them. One quarantine file takes all bad rows."""
    path = options.get("quarantine_path")
    quarantine = Quarantine(path) if path else None
    found = [_validate(source, quarantine, options) for source in sources]
    tallies, reports = [tally for tally, _ in found], [report for _, report in found]
    leaks = [
        leak
        for i in range(len(reports))
        for j in range(i + 1, len(reports))
        if (leak := leak_between(reports[i], tallies[i], reports[j], tallies[j])).prompts
    ]
    return reports, leaks


def leak_between(first: Report, first_tally: Tally, second: Report, second_tally: Tally) -> Leak:
    """Compare the hashes of the prompts."""
    shared = first_tally.prompts.keys() & second_tally.prompts.keys()
    return Leak(first.source, second.source, len(shared), sum(second_tally.prompts[prompt] for prompt in shared))


def _validate(source: Data, quarantine: Quarantine | None, options: Mapping[str, Any]) -> tuple[Tally, Report]:
    reading = _reading(source, options)
    limit = reading.limit
    measure = limit.lengths if limit else _characters
    tally, policy = Tally(measure), BadRowPolicy("count", quarantine)
    for _ in reading.examples(policy, tally):
        pass
    return tally, report_of(
        tally,
        reading.source.name,
        reading.shape.name if reading.shape else None,
        reading.kind,
        ties_kept=reading.ties == "soft",
        unit="tokens" if limit else "characters",
        quarantine=str(quarantine.path) if quarantine and tally.bad else None,
    )


def _reading(source: Data, options: Mapping[str, Any]) -> Reading:
    own = ("kind", "quarantine_path", "require_shape")
    load = {name: value for name, value in options.items() if name not in own}
    chosen = LoadOptions(**{"allow_truncation": False, **load})
    opened, kind = open_source(source, chosen.split, chosen.config), options.get("kind")
    if kind is not None and kind not in KINDS:
        raise DataError(f"kind={kind!r} is unknown; choose one of {', '.join(KINDS)}")
    reading = read_as(opened, kind, chosen.columns) if kind else read_as_any(opened, chosen.columns)
    if options.get("require_shape"):
        reading.require_shape()
    tokenizer = chosen.tokenizer
    limit = TokenLimit(tokenizer, chosen.max_length, chosen.allow_truncation) if tokenizer is not None else None
    return replace(reading, pair_rule=chosen.pair_rule, ties=chosen.ties, limit=limit)


def _characters(conversations: Sequence[Conversation]) -> list[int]:
    return [len(plain_text(conversation)) for conversation in conversations]
