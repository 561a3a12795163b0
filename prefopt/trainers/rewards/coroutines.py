"""Reward sources that are coroutines: side by side in one event loop, each cancelled when its time is over."""

from __future__ import annotations

import asyncio
import atexit
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from reward_models.clock import Clock
from reward_models.failures import InfrastructureError
from reward_models.hanging import Running, refuse_many
from reward_models.patience import Call, Steps, Wait

GRACE = 1.0
"""Seconds in which a cancelled coroutine may clean up."""
LOOK_AGAIN = 0.2
_RESTING: list[asyncio.AbstractEventLoop] = []
"""The event loop between two batches: clients and semaphores belong to the one in which they were first used."""


class EndedItself(RuntimeError):
    """A coroutine ended by another way than returning or raising an error."""


async def settled(answer: Any, found: list[Any], most: int) -> Any:
    """Await an answer, or put the items of an asynchronous generator into ``found``, up to ``most``."""
    if not isinstance(answer, AsyncIterator):
        return await answer
    async for item in answer:
        found.append(item)
        if len(found) >= most:
            break
    return found


def side_by_side(
    inquiries: Sequence[Steps], call: Callable[[int, Call], Awaitable[list[Any]]], clock: Clock, limited: bool
) -> list[list[Any] | InfrastructureError]:
    """Carry inquiries out together; ``call(n, what)`` asks for the n-th. Returns the answers of each.

    A coroutine that blocks the event loop beyond its time is left behind with the loop: every inquiry that had not
    ended then is an `InfrastructureError`. ``limited``: whether any of them has limits of time.
    """
    results: list[list[Any] | InfrastructureError] = [InfrastructureError("not asked")] * len(inquiries)
    late = [math.inf] * len(inquiries)

    async def carry_out(number: int) -> None:
        reply: list[Any] | None = None
        while True:
            try:
                step = inquiries[number].send(reply)
            except StopIteration as end:
                results[number], late[number] = end.value, math.inf
                return
            late[number] = time.monotonic() + step.seconds
            reply = await (clock.rest(step.seconds) if isinstance(step, Wait) else call(number, step))

    try:
        if limited:
            refuse_many()
        running = Running(lambda: run_loop([carry_out(number) for number in range(len(inquiries))]))
        while not running.wait(LOOK_AGAIN):
            if min(late) + 2 * GRACE < time.monotonic():
                running.leave()
                raise InfrastructureError("no answer in time: a coroutine blocks the event loop")
    except InfrastructureError as error:
        return [error if isinstance(one, InfrastructureError) else one for one in list(results)]
    running.result  # noqa: B018  raises what a source raised
    return results


async def within(waiting: Coroutine[Any, Any, Any], seconds: float) -> Any:
    """Return what a coroutine returns, and raise what it raises.

    Raises:
        InfrastructureError: it is late, and cancelled. EndedItself: it left by SystemExit, or cancelled itself.
    """
    task = asyncio.ensure_future(_staying(waiting))
    await asyncio.wait({task}, timeout=None if math.isinf(seconds) else seconds)
    if task.cancelled():
        raise EndedItself("it cancelled itself")
    if task.done():
        return task.result()
    task.cancel()
    await asyncio.wait({task}, timeout=GRACE)
    raise InfrastructureError(f"no answer within {seconds:.3g} s")


async def _staying(waiting: Coroutine[Any, Any, Any]) -> Any:
    # Past a task, SystemExit would end the loop, and with it the others.
    try:
        return await waiting
    except SystemExit as error:
        raise EndedItself(f"SystemExit: {error}") from error


def run_loop(waiting: Sequence[Coroutine[Any, Any, Any]]) -> list[Any]:
    """Run coroutines until all are done or one has raised; what does not end when cancelled is not waited for.

    It is the loop of the call before, unless that one still runs, or something in it does not end.
    """
    try:
        loop = _RESTING.pop()
    except IndexError:
        loop = asyncio.new_event_loop()
    # Threads that hang from an earlier call must not take the places of this one's.
    loop.set_default_executor(ThreadPoolExecutor())

    async def together() -> list[Any]:
        tasks = [asyncio.ensure_future(one) for one in waiting]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
        return [task.result() for task in tasks]

    try:
        return loop.run_until_complete(together())
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=GRACE))
        if asyncio.all_tasks(loop):
            loop.close()
        else:
            _RESTING.append(loop)


@atexit.register
def _close() -> None:
    while _RESTING:
        _RESTING.pop().close()
