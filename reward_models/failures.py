"""Why a completion has no score: two kinds of failure that are nobody's bug. None of them is ever a 0.

=================== ================================================================================================
InfrastructureError a server, sandbox or machine failed; asking again may help. Retried, then None.
Ungradable          there is nothing to judge by: a reference that cannot be read, tests that are none. None at once.
a bad program       wrong, crashing, endless: the verifier's score, which is its author's business.
anything else       a bug in the source. The run stops at once and shows the example.
=================== ================================================================================================

A reward source raises one of the first two for a whole call, or returns one in a row's place.
"""

from __future__ import annotations

import http.client
import sys
import urllib.error
from concurrent.futures import BrokenExecutor
from typing import Any

INFRASTRUCTURE, UNGRADABLE = "infrastructure", "ungradable"
TOO_EARLY_TOO_LATE_TOO_MANY = (408, 425, 429)
BROKEN_LINES = (ConnectionError, TimeoutError, http.client.HTTPException, BrokenExecutor, urllib.error.URLError)
# Clients that a user's source may have imported; they are looked up where they are loaded, and never imported here.
CLIENTS = {
    "requests": ("ConnectionError", "Timeout", "exceptions.ChunkedEncodingError"),
    "httpx": ("TransportError",),
    "aiohttp": ("ClientConnectionError", "ClientPayloadError"),
    "openai": ("APIConnectionError",),
}


class Failure(RuntimeError):
    """Base of both: a row without a score, and why."""

    kind = ""


class InfrastructureError(Failure):
    """A server, a sandbox or a machine failed, and not the completion; asking again may help.

    ``pause``: seconds to wait at least, where the other side named them (Retry-After). ``retries``: how often it is
    worth asking again; None = as often as the one who asks will.
    """

    kind = INFRASTRUCTURE
    retries: int | None = None

    def __init__(self, reason: str = "", pause: float = 0.0) -> None:
        super().__init__(reason)
        self.pause = pause


class Ungradable(Failure):
    """There is nothing to judge this completion by; asking again gives nothing else."""

    kind = UNGRADABLE


class SourceStopped(RuntimeError):
    """A source has given up as a whole, and says why; which example it was does not matter."""


def failure_of(error: BaseException) -> Failure | None:
    """Return the failure that an exception is, or None for a bug.

    Connections that are refused, reset or cut, timeouts, answers 408, 425, 429 and 5xx, and worker processes that were
    killed are infrastructure, also as exceptions of requests, httpx, aiohttp and openai.
    """
    if isinstance(error, Failure):
        return error
    status = status_of(error)
    if status is not None:
        return InfrastructureError(_words(error), _pause_of(error)) if asks_again(status) else None
    if isinstance(error, (*BROKEN_LINES, *_loaded_clients())):
        return InfrastructureError(_words(error))
    return None


def asks_again(status: int) -> bool:
    """Whether an HTTP status says that the same request may succeed later."""
    return status in TOO_EARLY_TOO_LATE_TOO_MANY or status >= 500


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status that an exception carries: as ``code``, ``status``, or that of its ``response``."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code
    response: Any = getattr(error, "response", None)
    for holder in (response, error):
        for name in ("status_code", "status"):
            value = getattr(holder, name, None)
            if isinstance(value, int) and 100 <= value <= 599:
                return value
    return None


def _pause_of(error: BaseException) -> float:
    from reward_models.http_client import seconds_to_wait

    headers: Any = getattr(getattr(error, "response", error), "headers", None)
    return seconds_to_wait(headers.get("Retry-After")) if hasattr(headers, "get") else 0.0


def _loaded_clients() -> tuple[type[BaseException], ...]:
    found = []
    for module, names in CLIENTS.items():
        for name in names if module in sys.modules else ():
            value: Any = sys.modules[module]
            for part in name.split("."):
                value = getattr(value, part, None)
            if isinstance(value, type) and issubclass(value, BaseException):
                found.append(value)
    return tuple(found)


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
