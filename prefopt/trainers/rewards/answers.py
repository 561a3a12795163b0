"""From what a reward source says to numbers, and to what kind of no number it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from prefopt.trainers.rewards.completions import Completions, RewardSourceError, WrongRowsError, short
from prefopt.trainers.rewards.source import RewardSource
from reward_models.failures import INFRASTRUCTURE, UNGRADABLE, Failure

SCORED, BY_INFRASTRUCTURE, BY_UNGRADABLE, ABSTAINED = range(4)
"""What became of a row: a score; one of the two failures; or None from a source that may abstain."""
KINDS = {INFRASTRUCTURE: BY_INFRASTRUCTURE, UNGRADABLE: BY_UNGRADABLE}
WITHOUT_ORDER = (dict, set, frozenset, str, bytes, bytearray)


@dataclass(frozen=True)
class Scores:
    """Scores of N completions in K columns.

    Attributes:
        values: ``(N, K)`` float32 on the CPU, NaN = no score.
        kinds: ``(N, K)`` int8, of each value.
        failures: the last failure's words, by reward column's name.
    """

    values: Tensor
    kinds: Tensor
    failures: dict[str, str]


def rows_of(source: RewardSource, answer: Any, count: int) -> list[Any]:
    """Return an answer as a list of ``count`` rows.

    Raises:
        WrongRowsError: another number of them, or what has no rows or no order.
    """
    if isinstance(answer, Tensor) and answer.ndim:
        answer = answer.detach().cpu().unbind()
    kind = f"a {type(answer).__name__}"
    if isinstance(answer, WITHOUT_ORDER):
        raise WrongRowsError(
            f"reward source '{source.label}' returned {short(answer)}, {kind}; expected a list, one score a completion "
            "in their order",
            kind,
        )
    try:
        rows = list(answer)
    except TypeError:
        message = f"reward source '{source.label}' returned {short(answer)}, expected a list"
        raise WrongRowsError(message, kind) from None
    if len(rows) != count:
        message = f"reward source '{source.label}' returned {len(rows)} scores, expected {count}, one a completion"
        raise WrongRowsError(message, str(len(rows)))
    return rows


def scores_of(source: RewardSource, rows: Sequence[Any], batch: Completions) -> Scores:
    """Return a source's answers as numbers: float32, transformed; None, NaN and failures as NaN.

    Raises:
        RewardSourceError: a row of several numbers where one was expected, infinity, or what is no number.
    """
    wanted = len(source.names)
    values, kinds = torch.full((len(rows), wanted), torch.nan), torch.zeros(len(rows), wanted, dtype=torch.int8)
    failures: dict[str, str] = {}
    for index, row in enumerate(rows):
        several = isinstance(row, (list, tuple)) or getattr(row, "ndim", 0) > 0
        cells = [row] * wanted if isinstance(row, Failure) or row is None else list(row) if several else [row]
        if len(cells) != wanted:
            got = f"({len(rows)}, {len(cells)})" if isinstance(row, Tensor) else f"rows of [{len(cells)}] scores"
            expected = f"{len(rows)}, one a completion" if isinstance(row, Tensor) and wanted == 1 else f"{wanted}"
            raise RewardSourceError(
                f"reward source '{source.label}' returned {got}, expected {expected}\n{batch.show(index)}"
            )
        for k, cell in enumerate(cells):
            values[index, k] = _number(source, cell, batch, index)
            if isinstance(cell, Failure):
                kinds[index, k] = KINDS[cell.kind]
                failures[source.names[k]] = f"{cell.kind}: {cell}"
    values = source.transform(values)
    if torch.isinf(values).any():
        index = int(torch.isinf(values).any(1).nonzero()[0])
        raise RewardSourceError(
            f"reward source '{source.label}' gave infinity; a completion that cannot be scored gets None\n"
            f"{batch.show(index)}"
        )
    silent = torch.isnan(values) & (kinds == SCORED)
    kinds[silent] = ABSTAINED if source.may_abstain else BY_UNGRADABLE
    return Scores(values, kinds, failures)


def _number(source: RewardSource, value: Any, batch: Completions, index: int) -> float:
    if value is None or isinstance(value, Failure):
        return math.nan
    try:
        if isinstance(value, (str, bytes)):
            raise TypeError
        return float(value.detach() if isinstance(value, Tensor) else value)
    except OverflowError:
        return math.inf
    except (TypeError, ValueError, RuntimeError):
        raise RewardSourceError(
            f"reward source '{source.label}' returned {short(value)}, which is no number\n{batch.show(index)}"
        ) from None
