"""How long a source is asked for scores: calls, pauses between them, deadlines, and when it is given up.

`inquiry` decides and neither calls nor sleeps itself, so that one set of rules serves functions, coroutines and
servers, and tests need no time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from reward_models.clock import CLOCK, Clock
from reward_models.errors import ModelError
from reward_models.failures import InfrastructureError


@dataclass(frozen=True)
class Patience:
    """When to ask again, and when to stop asking. Only infrastructure failures are asked again.

    Attributes:
        timeout: seconds for one call; None = no limit.
        deadline: seconds for a batch, retries and pauses included; rows that have no score by then get None, the others
            keep theirs. None = no limit.
        retries: calls after the first one, for the same rows; None = until the deadline.
        rows_per_call: rows in one call; None = all of a batch. Given, a source must judge each row for itself.
        row_wise: each row is judged for itself, so that only rows that failed are asked again; otherwise the call is
            repeated as it was, and rows that had a score keep it.
        give_up_after: calls in a row that failed in all their rows, after which the rest of the batch is not asked;
            None = never.
    """

    timeout: float | None = None
    deadline: float | None = None
    retries: int | None = 5
    rows_per_call: int | None = None
    row_wise: bool = False
    give_up_after: int | None = 8

    def __post_init__(self) -> None:
        for name in ("timeout", "deadline"):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and value > 0):
                raise ModelError(f"{name} must be a positive number of seconds, not {value!r}")
        for name, least in (("retries", 0), ("rows_per_call", 1), ("give_up_after", 1)):
            value = getattr(self, name)
            if value is not None and (not _is_number(value) or value != int(value) or value < least):
                raise ModelError(f"{name} must be a whole number of at least {least}, not {value!r}")
        if not isinstance(self.row_wise, bool):
            raise ModelError(f"row_wise must be true or false, not {self.row_wise!r}")
        if self.retries is None and self.deadline is None:
            raise ModelError("retries: null asks until the deadline; give a deadline, or a number of retries")

    @property
    def limited(self) -> bool:
        """Whether a call may be left before it ends by itself."""
        return self.timeout is not None or self.deadline is not None


@dataclass(frozen=True)
class Call:
    """Ask for these rows, for at most so many seconds."""

    rows: list[int]
    seconds: float


@dataclass(frozen=True)
class Wait:
    """Ask nothing for so many seconds."""

    seconds: float


Steps = Generator[Call | Wait, Any, list[Any]]


def inquiry(count: int, patience: Patience, clock: Clock = CLOCK) -> Steps:
    """Ask for ``count`` rows: yields what to do next, is sent a call's answers, and returns an answer a row, in order.

    An answer is whatever the source says of a row, or the failure that it is. Rows that were not asked, or not to the
    end, are an `InfrastructureError` that says so.
    """
    until = math.inf if patience.deadline is None else clock.now() + patience.deadline
    found: list[Any] = [InfrastructureError("not asked")] * count
    size, failed_in_a_row = patience.rows_per_call or max(count, 1), 0
    for first in range(0, count, size):
        chunk = list(range(first, min(first + size, count)))
        rows, attempt, why = chunk, 0, ""
        while rows:
            left = until - clock.now()
            if left <= 0:
                why = f"the deadline of {patience.deadline:g} s for the batch is over"
                break
            if patience.give_up_after is not None and failed_in_a_row >= patience.give_up_after:
                why = f"given up for this batch after {failed_in_a_row} failed calls in a row"
                break
            answers = yield Call(rows, min(left, patience.timeout or math.inf))
            attempt += 1
            for row, answer in zip(rows, answers, strict=True):
                if isinstance(found[row], InfrastructureError):
                    found[row] = answer
            dead = all(isinstance(answer, InfrastructureError) for answer in answers)
            failed_in_a_row = failed_in_a_row + 1 if dead else 0
            rows = [row for row in chunk if isinstance(found[row], InfrastructureError)]
            worth = [found[row].retries for row in rows] if rows else [0]
            most = min(
                (n for n in (patience.retries, None if None in worth else max(worth)) if n is not None), default=None
            )
            if not rows or (most is not None and attempt > most):
                break
            pause = clock.pause(attempt - 1, max(found[row].pause for row in rows))
            if clock.now() + pause >= until:
                break
            if patience.give_up_after is None or failed_in_a_row < patience.give_up_after:
                yield Wait(pause)
            rows = rows if patience.row_wise or patience.rows_per_call else chunk
        for row in chunk:
            if isinstance(found[row], InfrastructureError):
                found[row] = _told(found[row], attempt, why)
    return found


def carry_out(steps: Steps, call: Callable[[Call], list[Any]], clock: Clock) -> Any:
    """Do what an inquiry wants, one thing after the other, and return its answers."""
    reply: list[Any] | None = None
    while True:
        # The call stands outside of this: a StopIteration of its own must not end the inquiry.
        try:
            step = steps.send(reply)
        except StopIteration as end:
            return end.value
        reply = None
        if isinstance(step, Wait):
            clock.sleep(step.seconds)
        else:
            reply = call(step)


def _told(failure: InfrastructureError, attempts: int, why: str) -> InfrastructureError:
    words = [f"after {attempts} attempt{'s' * (attempts > 1)}"] * (attempts > 0) + [why] * bool(why)
    return InfrastructureError(f"{failure} ({'; '.join(words)})" if words else str(failure))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
