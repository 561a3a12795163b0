"""Load preferences, labelled answers and prompts from any source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reward_models.data.policy import BadRowPolicy
from reward_models.data.quarantine import Quarantine
from reward_models.data.reading import Reading, read_as
from reward_models.data.report import Report, report_of
from reward_models.data.sources import Data, open_source
from reward_models.data.tables import CHUNK, chunks, conform, merged_types, record_of, to_dataset
from reward_models.data.tally import Tally
from reward_models.data.tokens import TokenLimit
from reward_models.errors import DataError

if TYPE_CHECKING:
    import datasets

ON_BAD_ROW = ("raise", "quarantine")


def load_preferences(source: Data, *, streaming: bool = False, **options: Any) -> datasets.Dataset:
    """Pairs from any source, as a data set with columns prompt, chosen, rejected and what the source has beside them.

    Args:
        source: a file (.jsonl, .ndjson, .json, .parquet, each also .gz), a pattern or list of files, a hub name or a
            folder in the hub's layout, a `datasets.Dataset` or `DatasetDict`, or a list of dicts.
        streaming: give an `IterableDataset` that reads the source anew in each pass and holds no more than a few
            thousand rows. Bad rows then stop at once with "raise", and columns that first appear after 5,000
            pairs are left out.
        **options: see `load_preferences_with_report`.

    Raises:
        DataError: columns that fit no known shape; bad rows with ``on_bad_row="raise"``, or too many of them; no pair.
    """
    if streaming:
        return _stream(_reading(source, "preferences", options, streaming=True), options)
    return load_preferences_with_report(source, **options)[0]


def load_preferences_with_report(
    source: Data,
    *,
    split: str | None = None,
    config: str | None = None,
    columns: Mapping[str, str] | None = None,
    pair_rule: str = "all",
    ties: str = "drop",
    on_bad_row: str = "raise",
    quarantine_path: str | Path | None = None,
    max_bad_fraction: float | None = None,
    tokenizer: Any = None,
    max_length: int | None = None,
    allow_truncation: bool = True,
) -> tuple[datasets.Dataset, Report]:
    """Like `load_preferences`, with the validator's report beside the data set.

    Args:
        source: see `load_preferences`.
        split: of a hub name, folder or `DatasetDict`; "train" where there are several and none is named.
        config: of a hub name.
        columns: new name to old name, for sources with names of their own: ``{"prompt": "question"}``.
        pair_rule: how several rated answers become pairs, see `reward_models.data.pairing`.
        ties: "drop", or "soft" to keep them with ``label_chosen_preferred = 0.5``.
        on_bad_row: "raise", or "quarantine" to write bad rows to a file and go on.
        quarantine_path: that file; by default ``quarantine.jsonl`` in the working directory.
        max_bad_fraction: the ceiling of "quarantine"; None allows a tenth of the rows, and always ten.
        tokenizer: with ``max_length``, rows that leave no token of an answer to learn from are bad.
        max_length: tokens of prompt and answer together.
        allow_truncation: False makes every row above ``max_length`` a bad row.
    """
    options = {
        "split": split,
        "config": config,
        "columns": columns,
        "pair_rule": pair_rule,
        "ties": ties,
        "on_bad_row": on_bad_row,
        "quarantine_path": quarantine_path,
        "max_bad_fraction": max_bad_fraction,
        "tokenizer": tokenizer,
        "max_length": max_length,
        "allow_truncation": allow_truncation,
    }
    return _load(_reading(source, "preferences", options), options)


def load_unpaired(source: Data, **options: Any) -> datasets.Dataset:
    """Answers with a verdict: prompt, completion, label (bool). Sources and options as for `load_preferences`."""
    return _load(_reading(source, "unpaired", options), options)[0]


def load_prompts(source: Data, **options: Any) -> datasets.Dataset:
    """Prompts with what a verifier needs: prompt, answer, solution, tests; see `reward_models.data.shapes.tasks`."""
    return _load(_reading(source, "prompts", options), options)[0]


KNOWN = frozenset(load_preferences_with_report.__kwdefaults__ or ())


def _reading(source: Data, kind: str, options: Mapping[str, Any], streaming: bool = False) -> Reading:
    if unknown := set(options) - KNOWN:
        raise TypeError(f"unknown option {', '.join(sorted(unknown))}; known are {', '.join(sorted(KNOWN))}")
    if options.get("on_bad_row", "raise") not in ON_BAD_ROW:
        raise DataError(f"on_bad_row={options['on_bad_row']!r} is unknown; choose one of {', '.join(ON_BAD_ROW)}")
    opened = open_source(source, options.get("split"), options.get("config"), streaming)
    reading = read_as(opened, kind, options.get("columns"))
    reading.require_shape()
    tokenizer, limit = options.get("tokenizer"), None
    if tokenizer is not None and options.get("max_length"):
        limit = TokenLimit(tokenizer, options["max_length"], options.get("allow_truncation", True))
    return replace(reading, pair_rule=options.get("pair_rule", "all"), ties=options.get("ties", "drop"), limit=limit)


def _policy(options: Mapping[str, Any], immediately: bool = False) -> BadRowPolicy:
    on_bad_row = options.get("on_bad_row", "raise")
    path = options.get("quarantine_path") or "quarantine.jsonl"
    return BadRowPolicy(
        on_bad_row,
        Quarantine(path) if on_bad_row == "quarantine" else None,
        options.get("max_bad_fraction"),
        immediately,
    )


def _load(reading: Reading, options: Mapping[str, Any]) -> tuple[datasets.Dataset, Report]:
    policy, tally = _policy(options), Tally()
    records = (record_of(example) for example in reading.examples(policy, tally))
    dataset = to_dataset(chain(_first_of(reading, records, tally), records))
    return dataset, report_of(
        tally,
        reading.source.name,
        reading.shape.name if reading.shape else None,
        reading.kind,
        ties_kept=reading.ties == "soft",
        unit="characters",
        quarantine=str(policy.quarantine.path) if policy.quarantine and tally.bad else None,
    )


def _first_of(reading: Reading, records: Iterator[dict[str, Any]], tally: Tally) -> Iterator[dict[str, Any]]:
    first = next(records, None)
    if first is None:
        raise DataError(
            f"{reading.source.name}: {tally.rows} rows gave no {reading.kind}: {tally.ties} ties, "
            f"{tally.without_pairs} prompts without a pair, {sum(tally.bad.values())} bad rows."
        )
    yield first


def _stream(reading: Reading, options: Mapping[str, Any]) -> datasets.Dataset:
    import datasets

    def records() -> Iterator[dict[str, Any]]:
        tally = Tally()
        found = (record_of(example) for example in reading.examples(_policy(options, immediately=True), tally))
        yield from chain(_first_of(reading, found, tally), found)

    first = next(chunks(islice(records(), CHUNK)))
    types = merged_types([first.schema])
    features = datasets.Features.from_arrow_schema(conform(first.slice(0, 1), types).schema)

    def rows() -> Iterator[dict[str, Any]]:
        for table in chunks(records()):
            yield from conform(table, types).to_pylist()

    return datasets.IterableDataset.from_generator(rows, features=features)
