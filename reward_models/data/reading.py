"""A source whose shape is known: read it again and again, as examples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from reward_models.data.examples import Kept, Labelled, Solution, Task
from reward_models.data.expand import pairs_of
from reward_models.data.faults import BadRow
from reward_models.data.policy import BadRowPolicy
from reward_models.data.recognise import recognise, unrecognised
from reward_models.data.shape import Shape
from reward_models.data.shapes import IN_STEPS, LABELLED, LOGGED, PREFERENCES, RATINGS, SAMPLES, SCORED_TEXTS, TASKS
from reward_models.data.sources import NumberedRow, Source
from reward_models.data.tables import Table
from reward_models.data.tally import Tally
from reward_models.data.tokens import TokenLimit
from reward_models.data.validation import GoodRow, examine
from reward_models.errors import DataError

KINDS: Mapping[str, Sequence[Shape]] = {
    "preferences": PREFERENCES,
    "unpaired": LABELLED,
    "solutions": IN_STEPS,
    "prompts": TASKS,
    "logged": LOGGED,
    "samples": SAMPLES,
    "ratings": RATINGS,
    "texts": SCORED_TEXTS,
}
SAMPLE = 64


@dataclass(frozen=True)
class Reading:
    """What to read and how: the shape, the rule that makes pairs, what becomes of ties, and a limit on tokens."""

    source: Source
    kind: str
    shape: Shape | None
    sample: Sequence[object]
    pair_rule: str = "all"
    ties: str = "drop"
    limit: TokenLimit | None = None

    def examples(self, policy: BadRowPolicy, tally: Tally) -> Iterator[Table]:
        """All examples of the good rows; bad rows go to the policy."""
        good = policy(examine(self.source.read(), self.shape, self.limit), tally)
        if self.source.several:
            good = with_subset(good)
        if self.kind == "preferences":
            joins = self.shape is not None and self.shape.joins_rows
            yield from pairs_of(good, joins, self.pair_rule, self.ties, tally)
            return
        for row in good:
            for example in row.examples:
                tally.add_example(row.row_number, example)
                if isinstance(example, (Labelled, Solution, Task, Kept)):
                    yield example

    def require_shape(self) -> None:
        """An unknown shape or an empty source is an error that says what was found."""
        if not self.sample:
            raise DataError(f"{self.source.name}: there are no rows.")
        if self.shape is None and not all(isinstance(row, BadRow) for row in self.sample):
            raise unrecognised(self.sample, KINDS[self.kind], self.source.name)


def read_as(source: Source, kind: str, columns: Mapping[str, str] | None = None) -> Reading:
    """Recognise the shape from the first rows."""
    source = renamed(source, columns) if columns else source
    sample = [row.value for row in islice(source.read(), SAMPLE)]
    return Reading(source, kind, recognise(sample, KINDS[kind]), sample)


def read_as_any(source: Source, columns: Mapping[str, str] | None = None) -> Reading:
    """As the first of the kinds that the columns allow."""
    source = renamed(source, columns) if columns else source
    first, *others = (read_as(source, kind) for kind in KINDS)
    return next((reading for reading in (first, *others) if reading.shape is not None), first)


def renamed(source: Source, columns: Mapping[str, str]) -> Source:
    """A source whose column ``columns[name]`` is called ``name``. A column that is not there is an error."""
    new_names = {old: new for new, old in columns.items()}
    sample = [row.value for row in islice(source.read(), SAMPLE)]
    found = sorted({str(key) for row in sample if isinstance(row, Mapping) for key in row})
    if missing := [old for old in new_names if old not in found]:
        raise DataError(f"{source.name}: there is no column {', '.join(missing)}; columns are {', '.join(found)}")

    def read() -> Iterator[NumberedRow]:
        for row in source.read():
            if isinstance(row.value, Mapping):
                value = {key: item for key, item in row.value.items() if key not in columns or key in new_names}
                row = replace(row, value={new_names.get(key, key): item for key, item in value.items()})
            yield row

    return Source(source.name, read, source.several)


def with_subset(rows: Iterable[GoodRow]) -> Iterator[GoodRow]:
    """The name of the file as subset of the examples that have none."""
    for row in rows:
        name = Path(row.source).name.split(".")[0]
        examples = [
            example
            if isinstance(example, Kept) or example.attributes.get("subset") is not None
            else replace(example, attributes={**example.attributes, "subset": name})
            for example in row.examples
        ]
        yield replace(row, examples=examples)
