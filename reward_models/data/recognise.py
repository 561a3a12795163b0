"""Find the shape of a data set from its columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from reward_models.data.shape import PROMPT_NAMES, Shape, any_row
from reward_models.errors import DataError

TOKEN_IDS = ("chosen_ids", "rejected_ids", "chosen_input_ids", "rejected_input_ids", "prompt_ids")


def recognise(rows: Sequence[Any], shapes: Sequence[Shape]) -> Shape | None:
    """The shape of these first rows, or None.

    A shape must find its columns in at least half of the rows, and fit at least half of them; among several the one
    with the most columns wins, then one that looked at values. A damaged row or two decide nothing. Where the columns
    are there but no values fit, the columns decide, so that the rows are reported with what is wrong in them.
    """
    objects = [row for row in rows if isinstance(row, Mapping)]
    counts = Counter(key for row in objects for key in row)
    for columns in ({key for key, count in counts.items() if 2 * count >= len(objects)}, set(counts)):
        named = [s for s in shapes if columns.issuperset(s.columns) and columns.isdisjoint(s.without)]
        fitting = [s for s in named if 2 * sum(s.fits(row) for row in objects) >= len(objects)]
        if named:
            return max(fitting or named, key=lambda s: (len(s.columns), s.fits is not any_row))
    return None


def unrecognised(rows: Sequence[Any], shapes: Sequence[Shape], source: str) -> DataError:
    """An error that lists the columns and the nearest shapes with what each lacks."""
    columns = sorted({str(key) for row in rows if isinstance(row, Mapping) for key in row})
    if not columns:
        return DataError(f"{source}: the first rows are no JSON objects with columns.")
    if tokenised := [column for column in TOKEN_IDS if column in columns]:
        return DataError(
            f"{source}: {', '.join(tokenised)} hold token ids, which can be neither checked nor scored by another "
            "tokenizer. Give the text: prompt, chosen, rejected."
        )
    lines = [f"  {shape.name}: lacks {_missing(shape, columns)}" for shape in nearest_shapes(rows, columns, shapes)]
    return DataError(
        f"{source}: no known shape has the columns {', '.join(columns)}.\nNearest shapes:\n"
        + "\n".join(lines)
        + "\nRename columns with `columns`, for example columns={'prompt': 'question'}."
    )


def nearest_shapes(rows: Sequence[Any], columns: Sequence[str], shapes: Sequence[Shape], limit: int = 3) -> list[Shape]:
    """The shapes that lack the fewest columns, a column that may be misnamed counted half; then the largest.

    Values that do not fit count as one more column.
    """
    objects = [row for row in rows if isinstance(row, Mapping)]

    def distance(shape: Shape) -> tuple[float, int]:
        absent = [column for column in shape.columns if column not in columns]
        excluded = sum(column in columns for column in shape.without)
        misnamed = sum(_stand_in(column, columns, shape) is not None for column in absent)
        unfit = not any(shape.fits(row) for row in objects)
        return len(absent) - misnamed / 2 + excluded + unfit, len(absent) - len(shape.columns)

    by_name = {shape.name: shape for shape in reversed(shapes)}
    return sorted(by_name.values(), key=distance)[:limit]


def _missing(shape: Shape, columns: Sequence[str]) -> str:
    """The absent columns, each with the column that may stand for it; or what stands in the way."""
    absent = [column for column in shape.columns if column not in columns]
    if not absent:
        excluded = [column for column in shape.without if column in columns]
        return f"nothing, but {', '.join(excluded) or 'its values'} do not belong to it"
    named = ((column, _stand_in(column, columns, shape)) for column in absent)
    return ", ".join(f"{column} (is '{found}' it?)" if found else column for column, found in named)


def _stand_in(absent: str, columns: Sequence[str], shape: Shape) -> str | None:
    """A column under another name: one spelt alike, or one of the usual names of a prompt."""
    spare = [column for column in columns if column not in shape.columns]
    alike = get_close_matches(absent, spare, n=1, cutoff=0.7)
    if absent == "prompt":
        alike += [name for name in PROMPT_NAMES if name in spare]
    return alike[0] if alike else None
