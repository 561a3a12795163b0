"""Ask reward sources for rows: again where asking again may help, within deadlines, and never another row's answer."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from prefopt.trainers.rewards.answers import rows_of
from prefopt.trainers.rewards.completions import Completions, RewardSourceError
from prefopt.trainers.rewards.coroutines import run_loop, settled, side_by_side, within
from prefopt.trainers.rewards.row_log import for_call, with_row_log
from prefopt.trainers.rewards.source import RewardSource
from reward_models.clock import CLOCK, Clock
from reward_models.failures import InfrastructureError, SourceStopped, failure_of
from reward_models.hanging import Running, call_within, read
from reward_models.patience import Call, carry_out, inquiry

CULPRIT_SECONDS = 10.0
"""For finding the row on which a source fails."""
RAISED = (Exception, SystemExit)


class _BugError(Exception):
    """A source raised what is no failure. Which row it was is looked for outside of event loops and their deadlines."""

    def __init__(self, source: RewardSource, rows: Sequence[int], error: BaseException) -> None:
        super().__init__(str(error))
        self.source, self.rows, self.error = source, rows, error


def ask_all(sources: Sequence[RewardSource], batch: Completions, clock: Clock = CLOCK) -> list[list[Any]]:
    """Return what each source says of each row, in order: anything, or the `Failure` that it is.

    Coroutines run side by side, others one after the other before them.

    Raises:
        RewardSourceError: a source has a bug: an exception that is no failure, or a wrong number of answers.
    """
    batch, log = with_row_log(batch)
    try:
        found = _asked(sources, batch, clock)
    except _BugError as bug:
        raise _bug(bug.source, batch, bug.rows, bug.error) from bug.error
    if log is not None:
        log.flush()
    return found


def _asked(sources: Sequence[RewardSource], batch: Completions, clock: Clock) -> list[list[Any]]:
    found: dict[int, list[Any]] = {}
    waiting = [number for number, source in enumerate(sources) if is_coroutine(source.call)]
    for number, source in enumerate(sources):
        if number not in waiting:
            steps = inquiry(len(batch), source.manner, clock)
            found[number] = carry_out(steps, lambda call, one=source: _called(one, batch, call), clock)  # type: ignore[misc]
    if waiting:
        later = [sources[number] for number in waiting]

        async def call(place: int, what: Call) -> list[Any]:
            return await _awaited(later[place], batch, what)

        inquiries = [inquiry(len(batch), source.manner, clock) for source in later]
        limited = any(source.manner.limited for source in later)
        for number, answers in zip(waiting, side_by_side(inquiries, call, clock, limited), strict=True):
            found[number] = [answers] * len(batch) if isinstance(answers, InfrastructureError) else answers
    return [found[number] for number in range(len(sources))]


def is_coroutine(call: Any) -> bool:
    """Whether a callable is an ``async def``, with ``return`` or with ``yield``."""
    kinds = (inspect.iscoroutinefunction, inspect.isasyncgenfunction)
    return any(kind(one) for kind in kinds for one in (call, getattr(call, "__call__", None)))  # noqa: B004


def _work(source: RewardSource, batch: Completions, rows: Sequence[int]) -> Callable[[], Any]:
    # A method of that name says why a row has no score, where the call itself can only say None.
    call: Any = getattr(source.call, "with_failures", source.call)
    part = for_call(batch, rows)
    given = {"prompts": part.prompts, "completions": part.completions}
    given |= source.arguments(part.columns, part.context)
    return lambda: call(**given)


def _now(work: Callable[[], Any], found: list[Any], most: int) -> Any:
    """Return what a function returns, a generator's items, or what a coroutine that it returns does."""
    answer = work()
    if inspect.isawaitable(answer) or isinstance(answer, AsyncIterator):
        # In a thread of its own, as a notebook already runs an event loop in this one.
        running = Running(lambda: run_loop([within(settled(answer, found, most), math.inf)])[0])
        running.wait(math.inf)
        return running.result
    return read(answer, found, most)


def _called(source: RewardSource, batch: Completions, call: Call) -> list[Any]:
    found: list[Any] = []
    try:
        work = _work(source, batch, call.rows)
        answer = call_within(lambda: _now(work, found, len(call.rows) + 1), call.seconds)
    except RAISED as error:
        _let_pass(error)
        return _kept(source, batch, call, error, list(found))
    return rows_of(source, answer, len(call.rows))


async def _awaited(source: RewardSource, batch: Completions, call: Call) -> list[Any]:
    found: list[Any] = []
    try:
        work = _work(source, batch, call.rows)
        answer = await within(settled(work(), found, len(call.rows) + 1), call.seconds)
    except Exception as error:
        return _kept(source, batch, call, error, list(found))
    return rows_of(source, answer, len(call.rows))


def _let_pass(error: BaseException) -> None:
    """Raise what is no source's doing: a stop signal, which is a SystemExit of another class than ``sys.exit``'s."""
    if isinstance(error, SystemExit) and type(error) is not SystemExit:
        raise error


def _kept(source: RewardSource, batch: Completions, call: Call, error: BaseException, found: list[Any]) -> list[Any]:
    """Return what a generator had given before, and the failure for the other rows. A bug is raised."""
    failure = failure_of(error)
    if failure is None:
        raise _BugError(source, call.rows, error)
    kept = found[: len(call.rows)]
    return [*kept, *[failure] * (len(call.rows) - len(kept))]


def _bug(source: RewardSource, batch: Completions, rows: Sequence[int], error: BaseException) -> RewardSourceError:
    if isinstance(error, SourceStopped):
        return RewardSourceError(f"reward source '{source.label}' has stopped: {error}")
    index, which = _culprit(source, batch, rows)
    return RewardSourceError(
        f"reward source '{source.label}' raised {type(error).__name__}: {error}\non {which}:\n{batch.show(index)}\n"
        "Mend the source, or let it return None for a completion that it cannot score."
    )


def _culprit(source: RewardSource, batch: Completions, rows: Sequence[int]) -> tuple[int, str]:
    """Return the first row on which the source also fails alone; the first one where it fails on the batch only."""
    until = time.monotonic() + CULPRIT_SECONDS
    for index in rows:
        left = until - time.monotonic()
        if left <= 0:
            break
        try:
            work = _work(source, batch, [index])
            call_within(lambda work=work: _now(work, [], 2), left)  # type: ignore[misc]
        except RAISED as error:
            _let_pass(error)
            if failure_of(error) is None:
                return index, "this example"
    return rows[0], "the batch as a whole, not on a row alone; its first example is"
