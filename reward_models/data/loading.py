"""Load preferences, labelled answers and prompts from any source."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from reward_models.data.options import LoadOptions
from reward_models.data.policy import BadRowPolicy
from reward_models.data.reading import Reading, read_as
from reward_models.data.report import Report, report_of
from reward_models.data.shapes import pairs, tasks
from reward_models.data.sources import Data, open_source
from reward_models.data.tables import CHUNK, chunks, conform, merged_types, record_of, to_dataset
from reward_models.data.tally import Tally
from reward_models.data.validation import examine
from reward_models.errors import DataError

if TYPE_CHECKING:
    import datasets

LOG = logging.getLogger(__name__)
PLAIN = {"preferences": pairs.PLAIN, "prompts": tasks.PLAIN}
"""The shapes of data sets whose columns have our names already."""


def load_preferences(source: Data, *, streaming: bool = False, **options: Any) -> datasets.Dataset:
    """Pairs from any source, as a data set with columns prompt, chosen, rejected and what the source has beside them.

    Args:
        source: a file (.jsonl, .ndjson, .json, .parquet, each also .gz), a pattern or list of files, a hub name or a
            folder in the hub's layout, a `datasets.Dataset` or `DatasetDict`, or a list of dicts.
        streaming: give an `IterableDataset` that reads the source anew in each pass and holds no more than a few
            thousand rows. Bad rows then stop at once with "raise", and columns that first appear after 5,000
            pairs are left out.
        **options: split, config, columns, pair_rule, ties, on_bad_row, quarantine_path, max_bad_fraction, tokenizer,
            max_length, allow_truncation; see `LoadOptions`.

    Raises:
        DataError: columns that fit no known shape; bad rows with ``on_bad_row="raise"``, or too many of them; no pair.
    """
    chosen = LoadOptions(**options)
    reading = _reading(source, "preferences", chosen, streaming)
    return _stream(reading, chosen) if streaming else _load(reading, chosen)[0]


def load_preferences_with_report(source: Data, **options: Any) -> tuple[datasets.Dataset, Report]:
    """Like `load_preferences`, with the validator's report beside the data set."""
    return load_with_report(source, "preferences", **options)


def load_with_report(source: Data, kind: str, **options: Any) -> tuple[datasets.Dataset, Report]:
    """What `load_preferences`, `load_unpaired`, `load_prompts` or `load_solutions` give, with the validator's report.

    ``kind`` is "preferences", "unpaired", "prompts", "solutions", or one of texts with numbers on them, "logged",
    "texts" or "samples" (see `reward_models.data.shapes.feedback`). Sources and options as for `load_preferences`.
    """
    chosen = LoadOptions(**options)
    return _load(_reading(source, kind, chosen), chosen)


def load_unpaired(source: Data, **options: Any) -> datasets.Dataset:
    """Answers with a verdict: prompt, completion, label (bool). Sources and options as for `load_preferences`."""
    return load_with_report(source, "unpaired", **options)[0]


def load_prompts(source: Data, **options: Any) -> datasets.Dataset:
    """Prompts with what a verifier needs: prompt, answer, solution, tests; see `reward_models.data.shapes.tasks`."""
    return load_with_report(source, "prompts", **options)[0]


def load_solutions(source: Data, **options: Any) -> datasets.Dataset:
    """Solutions in steps: prompt, steps, step_labels, step_values, prompt_value, outcome.

    What a source does not tell is None; see `reward_models.data.shapes.solutions`. Sources and options as for
    `load_preferences`.
    """
    return load_with_report(source, "solutions", **options)[0]


def sift(data: datasets.Dataset, kind: str, name: str, **options: Any) -> tuple[datasets.Dataset, Report]:
    """The rows of a data set in memory that the validator takes, with all their columns as they are, and its report.

    ``kind`` is "preferences" for prompt, chosen and rejected, or "prompts" for prompts whatever stands beside them.
    ``name`` is what messages call the data. Options as for `load_preferences`.
    """
    chosen = LoadOptions(**options)
    reading = Reading(open_source(data, name=name), kind, PLAIN[kind], ())
    tally, policy = Tally(), chosen.policy(name)
    results = examine(reading.source.read(), reading.shape, chosen.limit())
    good = [row.row_number - 1 for row in policy(results, tally)]
    report = _report(reading, tally, policy)
    if not good:
        raise DataError(f"{name}: none of the {tally.rows} rows can be used")
    return (data if len(good) == len(data) else data.select(good)), report


def _reading(source: Data, kind: str, options: LoadOptions, streaming: bool = False) -> Reading:
    opened = open_source(source, options.split, options.config, streaming)
    reading = read_as(opened, kind, options.columns)
    reading.require_shape()
    return replace(reading, pair_rule=options.pair_rule, ties=options.ties, limit=options.limit())


def _load(reading: Reading, options: LoadOptions) -> tuple[datasets.Dataset, Report]:
    tally, policy = Tally(), options.policy(reading.source.name)
    dataset = to_dataset(_records(reading, policy, tally))
    report = _report(reading, tally, policy)
    if tally.duplicates or tally.contradictions:
        counts = f"{tally.duplicates} duplicates, {tally.contradictions} contradictions"
        LOG.warning("%s: %s; their rows stay. `prefopt check-data` lists them.", reading.source.name, counts)
    return dataset, report


def _report(reading: Reading, tally: Tally, policy: BadRowPolicy) -> Report:
    if policy.quarantine is not None and policy.quarantine.count != sum(tally.bad.values()):
        raise AssertionError(f"{sum(tally.bad.values())} bad rows, and {policy.quarantine.count} in quarantine")
    return report_of(
        tally,
        reading.source.name,
        reading.shape.name if reading.shape else None,
        reading.kind,
        ties_kept=reading.ties == "soft",
        unit="characters",
        quarantine=str(policy.quarantine.path) if policy.quarantine and tally.bad else None,
    )


def _records(reading: Reading, policy: BadRowPolicy, tally: Tally) -> Iterator[dict[str, Any]]:
    """All rows of the table; a source without any is an error."""
    records = (record_of(example) for example in reading.examples(policy, tally))
    first = next(records, None)
    if first is None:
        raise DataError(
            f"{reading.source.name}: {tally.rows} rows gave no {reading.kind}: {tally.ties} ties, "
            f"{tally.without_pairs} prompts without a pair, {sum(tally.bad.values())} bad rows."
        )
    yield from chain([first], records)


def _stream(reading: Reading, options: LoadOptions) -> datasets.Dataset:
    import datasets

    def records() -> Iterator[dict[str, Any]]:
        return _records(reading, options.policy(reading.source.name, immediately=True), Tally())

    first = next(chunks(islice(records(), CHUNK)))
    types = merged_types([first.schema])
    features = datasets.Features.from_arrow_schema(conform(first.slice(0, 1), types).schema)

    def rows() -> Iterator[dict[str, Any]]:
        for table in chunks(records()):
            yield from conform(table, types).to_pylist()

    return datasets.IterableDataset.from_generator(rows, features=features)
