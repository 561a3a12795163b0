"""Calls with a deadline. What does not come back is left behind in its thread, counted, and no longer listened to.

A thread cannot be killed: it keeps what it holds until it returns by itself or the process ends. Therefore only so many
may hang at a time; beyond that nothing is called any more until one of them ends.
"""

from __future__ import annotations

import contextvars
import math
import threading
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import torch

from reward_models.failures import InfrastructureError

MOST_ABANDONED = 8

_LOCK = threading.Lock()
_ABANDONED: list[threading.Thread] = []


def abandoned() -> int:
    """Return how many calls were left behind and still hang."""
    with _LOCK:
        _ABANDONED[:] = [thread for thread in _ABANDONED if thread.is_alive()]
        return len(_ABANDONED)


def refuse_many() -> None:
    """Raise ``InfrastructureError`` where as many calls hang as may."""
    count = abandoned()
    if count >= MOST_ABANDONED:
        raise InfrastructureError(f"not called: {count} earlier calls hang in their threads and cannot be ended")


class Running:
    """A function in a daemon thread, with the caller's context variables, gradient mode and device."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self._result: Any = None
        self._error: BaseException | None = None
        self._gradients, self._inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        self._device = torch.cuda.current_device() if torch.cuda.is_initialized() else None
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._run,), name="reward source", daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait until it is done, and say whether it is."""
        self._thread.join(None if math.isinf(seconds) else seconds)
        return not self._thread.is_alive()

    def leave(self) -> None:
        """Count it among those that hang."""
        with _LOCK:
            _ABANDONED.append(self._thread)

    @property
    def result(self) -> Any:
        """What the function returned; raises what it raised."""
        if self._error is not None:
            raise self._error
        return self._result

    def _run(self) -> None:
        try:
            if self._device is not None:
                torch.cuda.set_device(self._device)
            with torch.inference_mode(self._inference), torch.set_grad_enabled(self._gradients):
                self._result = self._work()
        except BaseException as error:
            self._error = error


def call_within(work: Callable[[], Any], seconds: float) -> Any:
    """Return what ``work`` returns; without a limit of time it runs in the caller's thread.

    Raises:
        InfrastructureError: it did not return in time, or too many earlier calls hang.
    """
    if math.isinf(seconds):
        return work()
    refuse_many()
    running = Running(work)
    if running.wait(seconds):
        return running.result
    running.leave()
    raise InfrastructureError(f"no answer within {seconds:.3g} s")


def read(answer: Any, found: list[Any], most: int) -> Any:
    """Put the items of an iterator into ``found``, up to ``most``; anything else is returned as it is.

    What an iterator had given before it hung or raised stands in ``found`` then.
    """
    if not isinstance(answer, Iterator):
        return answer
    for item in islice(answer, most):
        found.append(item)
    return found
