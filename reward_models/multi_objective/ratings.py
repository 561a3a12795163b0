"""Ratings of answers by attribute: a row holds prompt, completion and one number an attribute, None = not rated."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reward_models.data.examples import Kept
from reward_models.data.files import read_rows
from reward_models.data.policy import BadRowPolicy
from reward_models.data.quarantine import Quarantine, default_quarantine
from reward_models.data.shape import Shape
from reward_models.data.shapes.feedback import TEXTS, rated
from reward_models.data.sources import open_source
from reward_models.data.tally import Tally
from reward_models.data.validation import examine
from reward_models.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset


def load_ratings(
    source: str | Path,
    attributes: Sequence[str] = (),
    scale: tuple[float, float] | None = None,
    on_bad_row: str = "raise",
) -> Dataset:
    """Read ratings as float columns in [0, 1], one an attribute, beside prompt and completion.

    ``scale`` maps its ends to 0 and 1, ``(rating - low) / (high - low)``: (1, 5) for grades from one to five; (-0.5,
    4.5) is what ArmoRM's authors use for grades from 0 to 4. True and false are 1 and 0 on every scale. A value that is
    absent or null is no rating.

    Args:
        source: a file (.jsonl, .json, .parquet, each also .gz).
        attributes: columns; empty = all that hold numbers in some row.
        scale: of the numbers; None = they are within [0, 1] as they are.
        on_bad_row: "raise", or "quarantine": bad rows go to a file beside the working directory with their reasons.

    Raises:
        DataError: bad rows with "raise", or too many of them; no rows, or no such column; named.
    """
    if scale is not None and not (all(map(math.isfinite, scale)) and scale[0] < scale[1]):
        raise DataError(f"rating_scale must be two numbers, the lower first, got {scale[0]:g} {scale[1]:g}")
    if on_bad_row not in ("raise", "quarantine"):
        raise DataError(f"on_bad_row must be raise or quarantine, got '{on_bad_row}'")
    path = Path(source)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    readable = [row for _, row in read_rows(path) if isinstance(row, Mapping)]
    names = tuple(attributes) or _numbers(readable)
    convert = partial(rated, attributes=names, scale=scale or (0.0, 1.0))
    quarantine = Quarantine(default_quarantine(str(path))) if on_bad_row == "quarantine" else None
    policy, tally = BadRowPolicy(on_bad_row, quarantine), Tally()
    shape = Shape("ratings by attribute", TEXTS, convert)
    found = [row.examples[0] for row in policy(examine(open_source(path).read(), shape), tally)]
    kept = [example.columns for example in found if isinstance(example, Kept)]
    if not kept:
        raise DataError(f"{path} holds no ratings")
    if not names:
        raise DataError(f"{path} has no column of numbers beside prompt and completion")
    if absent := [name for name in names if all(row.get(name) is None for row in kept)]:
        raise DataError(f"{path}: no row rates '{absent[0]}'; its columns are {', '.join(readable[0])}")
    return _table(kept, names)


def _numbers(rows: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the columns that hold numbers and nothing else, in the order in which they come up."""
    found: dict[str, set[bool]] = {}
    for row in rows:
        for name, value in row.items():
            kinds = found.setdefault(name, set())
            if value is not None:
                kinds.add(isinstance(value, (bool, int, float)))
    return tuple(name for name, kinds in found.items() if name not in TEXTS and kinds == {True})


def _table(kept: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Dataset:
    from datasets import Dataset, Features, Value

    columns: dict[str, list[Any]] = {name: [row.get(name) for row in kept] for name in (*TEXTS, *names)}
    texts = Dataset.from_dict({name: columns[name] for name in TEXTS})
    kinds = Features({**texts.features, **dict.fromkeys(names, Value("float64"))})
    return Dataset.from_dict(columns, features=kinds)
