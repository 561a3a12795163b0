"""Call reward sources on a batch of completions, and refuse what is no score."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from prefopt.errors import UserError
from prefopt.trainers.reward_source import RewardSource

SHOWN = 300


class RewardSourceError(UserError):
    """A reward source failed; the message shows the example."""


@dataclass(frozen=True)
class Completions:
    """A process's completions with everything that a source may read, row by row."""

    prompts: list[Any]
    completions: list[Any]
    columns: Mapping[str, list[Any]]
    context: Mapping[str, Any] = field(default_factory=dict)
    per_row: tuple[str, ...] = ("completion_ids", "environments")

    def __len__(self) -> int:
        return len(self.completions)

    def row(self, index: int) -> Completions:
        """Return one row alone."""
        context = {
            name: value[index : index + 1] if name in self.per_row else value for name, value in self.context.items()
        }
        columns = {name: values[index : index + 1] for name, values in self.columns.items()}
        return Completions(self.prompts[index : index + 1], self.completions[index : index + 1], columns, context)

    def show(self, index: int) -> str:
        """Return a row in words."""
        lines = [f"prompt: {_short(self.prompts[index])}", f"completion: {_short(self.completions[index])}"]
        lines += [f"{name}: {_short(values[index])}" for name, values in self.columns.items() if name != "prompt"]
        return "\n".join(f"  {line}" for line in lines)


def score_all(sources: Sequence[RewardSource], batch: Completions) -> Tensor:
    """Return ``(N, K)`` float32 on the CPU, K over all sources' columns; None and NaN become NaN.

    Sources that are coroutines run side by side, others one after the other.

    Raises:
        RewardSourceError: a source raised, or gave a wrong number of scores, infinity, or what is no number.
    """
    answers = [_call(source, batch) for source in sources]
    waiting = [number for number, answer in enumerate(answers) if inspect.isawaitable(answer)]
    if waiting:
        for number, result in zip(waiting, _await_all([answers[number] for number in waiting]), strict=True):
            if isinstance(result, BaseException):
                raise _failure(sources[number], batch, 0, result, "the first example") from result
            answers[number] = result
    columns = [_checked(source, answer, batch) for source, answer in zip(sources, answers, strict=True)]
    return torch.cat(columns, 1) if columns else torch.zeros(len(batch), 0)


def answer_of(source: RewardSource, batch: Completions) -> Any:
    """Return what a source says, unchecked and awaited. Raises ``RewardSourceError`` where it raises."""
    answer = _call(source, batch)
    if not inspect.isawaitable(answer):
        return answer
    (result,) = _await_all([answer])
    if isinstance(result, BaseException):
        raise _failure(source, batch, 0, result, "the first example") from result
    return result


def _call(source: RewardSource, batch: Completions) -> Any:
    assert source.call is not None
    given = {"prompts": batch.prompts, "completions": batch.completions}
    try:
        return source.call(**given, **source.arguments(batch.columns, batch.context))
    except Exception as error:
        index, which = _culprit(source, batch)
        raise _failure(source, batch, index, error, which) from error


def _culprit(source: RewardSource, batch: Completions) -> tuple[int, str]:
    """Return the first row on which the source also fails alone; row 0 where it fails on the batch only."""
    assert source.call is not None
    for index in range(len(batch)):
        one = batch.row(index)
        try:
            source.call(prompts=one.prompts, completions=one.completions, **source.arguments(one.columns, one.context))
        except Exception:
            return index, "this example"
    return 0, "the batch as a whole, not on a row alone; its first example is"


def _failure(source: RewardSource, batch: Completions, index: int, error: BaseException, which: str) -> Exception:
    return RewardSourceError(
        f"reward source '{source.label}' raised {type(error).__name__}: {error}\non {which}:\n{batch.show(index)}\n"
        "Mend the source, or let it return None for a completion that it cannot score."
    )


def _checked(source: RewardSource, answer: Any, batch: Completions) -> Tensor:
    wanted = len(source.names)
    values = answer.detach().float().cpu() if isinstance(answer, Tensor) else _stack(source, answer, batch)
    if values.ndim == 1 and wanted == 1:
        values = values[:, None]
    if tuple(values.shape) != (len(batch), wanted):
        got = f"{len(values)} scores" if values.ndim <= 1 or values.shape[1:] == (wanted,) else f"{tuple(values.shape)}"
        expected = f"{len(batch)}, one a completion" if wanted == 1 else f"({len(batch)}, {wanted})"
        raise RewardSourceError(f"reward source '{source.label}' returned {got}, expected {expected}")
    values = source.transform(values)
    if torch.isinf(values).any():
        index = int(torch.isinf(values).any(1).nonzero()[0])
        raise RewardSourceError(
            f"reward source '{source.label}' gave infinity; a completion that cannot be scored gets None\n"
            f"{batch.show(index)}"
        )
    return values


def _stack(source: RewardSource, answer: Any, batch: Completions) -> Tensor:
    """Return lists, arrays, numpy scalars and tensors in a list as one float32 tensor."""
    try:
        rows = list(answer)
    except TypeError:
        raise RewardSourceError(f"reward source '{source.label}' returned {_short(answer)}, expected a list") from None
    nested = [isinstance(row, (list, tuple)) or getattr(row, "ndim", 0) > 0 for row in rows]
    if any(nested):
        lengths = {len(row) if several else 1 for row, several in zip(rows, nested, strict=True)}
        if lengths != {len(source.names)}:
            raise RewardSourceError(
                f"reward source '{source.label}' returned rows of {sorted(lengths)} scores, "
                f"expected {len(source.names)}"
            )
        return torch.tensor([[_number(source, value, batch, i) for value in row] for i, row in enumerate(rows)])
    return torch.tensor([_number(source, value, batch, i) for i, value in enumerate(rows)])


def _number(source: RewardSource, value: Any, batch: Completions, index: int) -> float:
    if value is None:
        return float("nan")
    try:
        if isinstance(value, (str, bytes)):
            raise TypeError
        return float(value)
    except (TypeError, ValueError):
        shown = f"\n{batch.show(index)}" if index < len(batch) else ""
        raise RewardSourceError(
            f"reward source '{source.label}' returned {_short(value)}, which is no number{shown}"
        ) from None


def _await_all(waiting: Sequence[Any]) -> list[Any]:
    async def together() -> list[Any]:
        return await asyncio.gather(*waiting, return_exceptions=True)

    # In a thread of its own, as a notebook already runs an event loop in this one.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(together())).result()


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} ... ({len(text)} characters)"
