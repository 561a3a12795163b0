"""The one validator: rows in, good rows and bad rows out, none lost and nothing raised for what a row holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias

from reward_models.data.checks import check_example
from reward_models.data.examples import Example
from reward_models.data.faults import BadRow, RowFault, bad_row
from reward_models.data.shape import Shape
from reward_models.data.sources import NumberedRow
from reward_models.data.tokens import TokenLimit

BATCH = 512


@dataclass(frozen=True)
class GoodRow:
    """A row with the examples that it holds."""

    source: str
    row_number: int
    row: Any
    examples: list[Example]


Result: TypeAlias = "GoodRow | BadRow"


def examine(rows: Iterable[NumberedRow], shape: Shape | None, limit: TokenLimit | None = None) -> Iterator[Result]:
    """One result a row, in order. A row is good as a whole or bad as a whole.

    Without a shape every row is bad. Duplicates, contradictions and leaks are no fault of a row: `Tally` counts them.
    """
    results = _of_one_form(understand(row, shape) for row in rows)
    return results if limit is None else _within(results, limit)


def understand(row: NumberedRow, shape: Shape | None) -> Result:
    """Convert and check one row."""
    if isinstance(row.value, BadRow):
        return row.value
    try:
        return GoodRow(row.source, row.number, row.value, _examples(row.value, shape))
    except RowFault as fault:
        return bad_row(row.source, row.number, row.value, fault)
    except RecursionError:
        return bad_row(row.source, row.number, row.value, RowFault("wrong_type", "row", "nested too deeply"))


def _examples(row: Any, shape: Shape | None) -> list[Example]:
    if not isinstance(row, Mapping):
        raise RowFault("not_an_object", "row", f"expected an object, found {type(row).__name__}")
    if shape is None:
        raise RowFault("unrecognised_columns", "row", f"columns {', '.join(map(str, row))[:200] or 'none'}")
    examples = shape.convert(row)
    for example in examples:
        check_example(example, shape.silence)
    return examples


def _of_one_form(results: Iterable[Result]) -> Iterator[Result]:
    """The first good row decides whether the data set is text or messages: a table's column has one type."""
    form: str | None = None
    for result in results:
        if isinstance(result, GoodRow) and result.examples:
            found = "text" if isinstance(result.examples[0].prompt, str) else "messages"
            form = form or found
            if found != form:
                detail = f"{found}, while the rows before hold {form}"
                fault = RowFault("mixed_format", "prompt", detail)
                yield bad_row(result.source, result.row_number, result.row, fault)
                continue
        yield result


def _within(results: Iterator[Result], limit: TokenLimit) -> Iterator[Result]:
    while batch := list(islice(results, BATCH)):
        examples = [example for result in batch if isinstance(result, GoodRow) for example in result.examples]
        faults = iter(limit(examples))
        for result in batch:
            found = [next(faults) for _ in result.examples] if isinstance(result, GoodRow) else []
            fault = next((fault for fault in found if fault is not None), None)
            if isinstance(result, GoodRow) and fault is not None:
                result = bad_row(result.source, result.row_number, result.row, fault)
            yield result
