"""Results of unit tests for objectives that need them: from reward sources, for completions and for their turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from prefopt.trainers.rewards.scores import Completions, RewardSourceError, WrongRowsError, answer_of
from prefopt.trainers.rewards.source import RewardSource
from reward_models.errors import DataError
from reward_models.verifiable.pass_matrix import pass_matrix


def gives(source: RewardSource, *methods: str) -> bool:
    """Whether the source's callable has one of the methods, ``results`` or ``turn_results``."""
    return any(callable(getattr(source.call, method, None)) for method in methods)


def verdicts(needs: frozenset[str], sources: Sequence[RewardSource], batch: Completions) -> dict[str, Tensor]:
    """Return those of ``test_results`` ``(N, M)`` and ``turn_test_results`` ``(N, S, M)`` that are needed, on the CPU.

    Tests of several sources stand side by side. A source gives them by methods with the parameters of its call:

    - ``results(prompts, completions, **columns)``: a row of True, False or None a completion; None = not judged. For
      turns it is asked about every assistant message of a completion alone.
    - ``turn_results(...)``, in its place for turns: a list of such rows a completion, one a turn. It may take
      ``environments``, where the program of a turn stands in a tool's call.

    Raises:
        RewardSourceError: a source failed, or gave what is no list of verdicts.
    """
    found = {}
    if "test_results" in needs:
        suites = [source for source in sources if gives(source, "results")]
        found["test_results"] = torch.cat([_matrix(one, _answers(one, "results", batch)) for one in suites], 1)
    if "turn_test_results" in needs:
        cubes = [_cube(one, _turns(one, batch)) for one in sources if gives(one, "results", "turn_results")]
        turns = max(cube.shape[1] for cube in cubes)
        padded = [torch.nn.functional.pad(cube, (0, 0, 0, turns - cube.shape[1]), value=torch.nan) for cube in cubes]
        found["turn_test_results"] = torch.cat(padded, 2)
    return found


def turn_ids(mask: Tensor) -> Tensor:
    """Return ``(B, T)`` int64: number of the policy's uninterrupted run of tokens that a token belongs to, from 0.

    Between two turns there is always a token that the policy did not write: the tool's or environment's answer.
    """
    before = torch.nn.functional.pad(mask, (1, 0))[:, :-1]
    return ((mask & ~before).long().cumsum(1) - 1).clamp(min=0)


def _answers(source: RewardSource, method: str, batch: Completions) -> list[Any]:
    try:
        return answer_of(replace(source, call=getattr(source.call, method)), batch)
    except WrongRowsError as error:
        got = f"{error.got} rows" if error.got.isdigit() else error.got
        message = f"`{method}` of reward source '{source.label}' gave {got}, expected {len(batch)} rows"
        raise RewardSourceError(message) from error


def _matrix(source: RewardSource, rows: Sequence[Any]) -> Tensor:
    try:
        return pass_matrix(rows)
    except (DataError, TypeError) as error:
        raise RewardSourceError(f"test results of reward source '{source.label}': {error}") from error


def _turns(source: RewardSource, batch: Completions) -> list[list[Any]]:
    """Return a list of rows of verdicts a completion, one a turn."""
    if gives(source, "turn_results"):
        return [[] if turns is None else list(turns) for turns in _answers(source, "turn_results", batch)]
    messages = [_assistant_messages(source, completion) for completion in batch.completions]
    owner = [row for row, turns in enumerate(messages) for _ in turns]
    found: list[list[Any]] = [[] for _ in messages]
    if owner:
        alone = _repeated(batch, owner, [[message] for turns in messages for message in turns])
        for row, verdict in zip(owner, _answers(source, "results", alone), strict=True):
            found[row].append(verdict)
    return found


def _assistant_messages(source: RewardSource, completion: Any) -> list[Mapping[str, Any]]:
    if isinstance(completion, str):
        raise RewardSourceError(
            f"reward source '{source.label}' judges completions by `results`, and a completion that is text does not "
            "say where its turns end; give prompts as messages, or the source a method `turn_results`"
        )
    return [message for message in completion if message.get("role") == "assistant"]


def _repeated(batch: Completions, rows: list[int], completions: list[Any]) -> Completions:
    def chosen(values: Sequence[Any]) -> list[Any]:
        return [values[row] for row in rows]

    context = {name: chosen(value) if name in batch.per_row else value for name, value in batch.context.items()}
    columns = {name: chosen(values) for name, values in batch.columns.items()}
    return Completions(chosen(batch.prompts), completions, columns, context, batch.per_row)


def _cube(source: RewardSource, turns: Sequence[Sequence[Any]]) -> Tensor:
    """Return ``(N, S, M)``: NaN for turns that do not exist."""
    longest = max([1, *(len(one) for one in turns)])
    flat: list[Any] = [row for one in turns for row in [*one, *[None] * (longest - len(one))]]
    return _matrix(source, flat).reshape(len(turns), longest, -1)
