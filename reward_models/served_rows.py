"""From a server's answer to a row for each text that was asked about: by ids where it gives them, else by place."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from reward_models.failures import Failure, InfrastructureError, Ungradable
from reward_models.http_client import UnreachableError

UNUSABLE_RETRIES = 2
"""A server that answers, but not what was asked, will hardly learn it: it is asked again so many times."""


class UnusableError(UnreachableError):
    """An answer that does not say which score belongs to which text."""

    retries = UNUSABLE_RETRIES


def read_rows(answer: Mapping[str, Any], ids: Sequence[str], heads: int) -> list[Any]:
    """Return for each id its score, a list of ``heads`` scores where there are several, or the failure that it is.

    ``answer`` has ``scores``, a list of ``heads`` numbers or nulls a text; it may have ``ids``, as many as scores and
    in their order, and ``unscored``, why a row (by its place) has nulls.

    Raises:
        UnusableError: rows cannot be told apart: another number of them, an id that was not asked for, or one twice.
    """
    scores, named = answer.get("scores"), answer.get("ids")
    if not isinstance(scores, list):
        raise UnusableError("no list of scores")
    if named is None:
        if len(scores) != len(ids):
            raise UnusableError(f"{len(scores)} rows of scores for {len(ids)} texts")
        named = list(ids)
    known = set(ids)
    if not isinstance(named, list) or len(named) != len(scores):
        raise UnusableError(f"{len(scores)} rows of scores, and ids for another number of them")
    if not all(isinstance(one, str) and one in known for one in named) or len(set(named)) != len(named):
        raise UnusableError("scores with ids that were not asked for, or were given twice")
    reasons: Any = answer.get("unscored")
    reasons = reasons if isinstance(reasons, Mapping) else {}
    found = {one: _row(scores[place], heads, reasons.get(str(place))) for place, one in enumerate(named)}
    return [found.get(one, UnusableError(f"scores for {len(found)} of {len(ids)} texts")) for one in ids]


def _row(row: Any, heads: int, reason: Any) -> Any:
    if not isinstance(row, list) or len(row) != heads:
        return UnusableError(f"a row that is no list of {heads} scores")
    cells = [_cell(cell, reason) for cell in row]
    broken = next((cell for cell in cells if isinstance(cell, InfrastructureError)), None)
    return broken if broken is not None else cells[0] if heads == 1 else cells


def _cell(value: Any, reason: Any) -> float | Failure:
    if value is None:
        return Ungradable(str(reason or "the server has no score for it"))
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return UnusableError(f"{value!r} in the place of a score")
    # An integer of any length is valid JSON.
    if abs(value) > 1e300 or not math.isfinite(value):
        return Ungradable("the server's score is not finite")
    return float(value)
