"""Rows of plain values become an Arrow table, chunk by chunk, each column of one type."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa

if TYPE_CHECKING:
    import datasets

from reward_models.data.examples import Kept, Labelled, Pair, Solution, Task

Table: TypeAlias = "Pair | Labelled | Solution | Task | Kept"
"""What becomes a row of a table."""

CHUNK = 5000
INT64 = 2**63
MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))


def record_of(example: Table) -> dict[str, Any]:
    """The columns of an example; attributes never hide the columns of the schema."""
    if isinstance(example, Kept):
        return dict(example.columns)
    if isinstance(example, Pair):
        known: dict[str, Any] = {"prompt": example.prompt, "chosen": example.chosen, "rejected": example.rejected}
        optional = {"margin": example.margin, "label_chosen_preferred": example.label_chosen_preferred}
        known |= {name: value for name, value in optional.items() if value is not None}
        reserved = {*known, *optional}
    elif isinstance(example, Labelled):
        known = {"prompt": example.prompt, "completion": example.completion, "label": example.label}
        reserved = set(known)
    elif isinstance(example, Solution):
        known = {"prompt": example.prompt, "steps": list(example.steps)}
        lists = {"step_labels": example.step_labels, "step_values": example.step_values}
        known |= {name: list(values) for name, values in lists.items() if any(one is not None for one in values)}
        known |= {"prompt_value": example.prompt_value, "outcome": example.outcome}
        reserved = {*known, *lists}
    else:
        known, reserved = {"prompt": example.prompt}, {"prompt"}
    return known | {name: value for name, value in example.attributes.items() if name not in reserved}


def to_dataset(records: Iterable[Mapping[str, Any]]) -> datasets.Dataset:
    """A data set in memory. Columns that are empty in every row are left out."""
    import datasets

    tables = list(chunks(records))
    types = merged_types([table.schema for table in tables])
    table = pa.concat_tables([conform(table, types) for table in tables])
    return datasets.Dataset(datasets.table.InMemoryTable(table))


def chunks(records: Iterable[Mapping[str, Any]]) -> Iterator[pa.Table]:
    """Tables of a few thousand rows each."""
    iterator = iter(records)
    while part := list(islice(iterator, CHUNK)):
        names = dict.fromkeys(name for record in part for name in record)
        yield pa.table({name: column([record.get(name) for record in part], name) for name in names})


def column(values: Sequence[Any], name: str = "") -> pa.Array:
    """One column. Numbers of several kinds become floats; any other mixture becomes text (JSON for what is no text).

    A missing `label_chosen_preferred` beside given ones means certainty: 1.
    """
    if name == "label_chosen_preferred":
        return pa.array([1.0 if value is None else float(value) for value in values], pa.float64())
    kinds = {_kind(value) for value in values if value is not None}
    if kinds == {"int", "float"}:
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    if not kinds:
        return pa.nulls(len(values))
    known = {"messages": MESSAGES, "texts": pa.list_(pa.string()), "int": pa.int64(), "float": pa.float64()}
    known["numbers"] = pa.list_(pa.float64())
    if len(kinds) == 1 and (kind := kinds.pop()) != "other":
        return pa.array(values, {**known, "bool": pa.bool_(), "text": pa.string()}[kind])
    return pa.array([as_text(value) for value in values], pa.string())


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int" if -INT64 <= value < INT64 else "other"
    if isinstance(value, float):
        return "float"
    if isinstance(value, str):
        return "text"
    if isinstance(value, list) and value:
        if all(item is None or isinstance(item, float) for item in value):
            return "numbers"
        return "texts" if all(isinstance(item, str) for item in value) else "messages"
    return "other"


def as_text(value: Any) -> str | None:
    """Text as it is, other values as JSON."""
    return value if value is None or isinstance(value, str) else json.dumps(value, default=str)


def merged_types(schemas: Sequence[pa.Schema]) -> dict[str, pa.DataType]:
    """One type for each column over all chunks; null columns vanish."""
    found: dict[str, set[pa.DataType]] = {}
    for schema in schemas:
        for field in schema:
            found.setdefault(field.name, set()).add(field.type)
    types = {name: kinds - {pa.null()} for name, kinds in found.items()}
    return {name: _common(kinds) for name, kinds in types.items() if kinds}


def _common(kinds: set[pa.DataType]) -> pa.DataType:
    if len(kinds) == 1:
        return next(iter(kinds))
    return pa.float64() if kinds == {pa.int64(), pa.float64()} else pa.string()


def conform(table: pa.Table, types: Mapping[str, pa.DataType]) -> pa.Table:
    """The same rows under the common types."""
    arrays = {name: _cast(table, name, kind) for name, kind in types.items()}
    return pa.table(arrays)


def _cast(table: pa.Table, name: str, kind: pa.DataType) -> pa.Array | pa.ChunkedArray:
    if name not in table.column_names:
        filler = 1.0 if name == "label_chosen_preferred" else None
        return pa.array([filler] * len(table), kind)
    values = table[name]
    if values.type == kind:
        return values
    if pa.types.is_string(kind):
        return pa.array([as_text(value) for value in values.to_pylist()], kind)
    return values.cast(kind)
