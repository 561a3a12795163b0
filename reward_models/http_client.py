"""Ask a server for JSON, again and again, until there is an answer or the time is over."""

from __future__ import annotations

import http.client
import json
import random
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import SplitResult, urlsplit

from reward_models.errors import DataError, ModelError

AGAIN = (408, 429, 500, 502, 503, 504)
FIRST_PAUSE = 0.25
LONGEST_PAUSE = 10.0
# Not the global one: pauses must not change what a seeded run draws.
CHANCE = random.Random()


class UnreachableError(Exception):
    """The server gave no answer that can be used; asking again may help."""

    def __init__(self, reason: str, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.pause = pause


def ask(
    where: SplitResult, method: str, path: str, body: Any, until: float, headers: Mapping[str, str] | None = None
) -> tuple[dict[str, Any], int]:
    """Ask until there is an answer or the time is over; return the answer and the number of retries.

    Pauses double from 0.25 s to 10 s, with chance in them so that many clients do not return at once; a server's
    Retry-After is kept.

    Raises:
        UnreachableError: the time is over.
        DataError: the server refuses this request.
    """
    retries = 0
    while True:
        try:
            return _ask_once(where, method, path, body, until, headers or {}), retries
        except UnreachableError as error:
            pause = min(FIRST_PAUSE * 2**retries, LONGEST_PAUSE) * CHANCE.uniform(0.5, 1.0)
            pause = max(pause, error.pause)
            if time.monotonic() + pause >= until:
                raise UnreachableError(f"{error} (after {retries + 1} attempts)") from error
            time.sleep(pause)
            retries += 1


def _ask_once(
    where: SplitResult, method: str, path: str, body: Any, until: float, headers: Mapping[str, str]
) -> dict[str, Any]:
    left = until - time.monotonic()
    if left <= 0:
        raise UnreachableError("the time is over")
    kind = http.client.HTTPSConnection if where.scheme == "https" else http.client.HTTPConnection
    connection = kind(where.hostname or "", where.port, timeout=left)
    # A socket's timeout is for one read: only this ends an answer that trickles.
    guard = threading.Timer(left, _hang_up, [connection])
    guard.daemon = True
    guard.start()
    try:
        payload = None if body is None else json.dumps(body).encode()
        sent = {"Content-Type": "application/json", **headers}
        connection.request(method, where.path.rstrip("/") + path, payload, sent)
        response = connection.getresponse()
        return _checked(response.status, response.read(), response.getheader("Retry-After"), where.geturl() + path)
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError(f"{type(error).__name__}: {error}") from error
    finally:
        guard.cancel()
        connection.close()


def _hang_up(connection: http.client.HTTPConnection) -> None:
    with suppress(OSError, AttributeError):
        connection.sock.shutdown(socket.SHUT_RDWR)


def _checked(status: int, content: bytes, retry_after: str | None, url: str) -> dict[str, Any]:
    try:
        answer = json.loads(content)
    except ValueError:
        answer = None
    if status == 200 and isinstance(answer, dict):
        return answer
    error = answer.get("error") if isinstance(answer, dict) else None
    message = error["message"] if isinstance(error, dict) and "message" in error else f"{len(content)} bytes"
    if status == 200 or status in AGAIN:
        pause = float(retry_after) if retry_after and retry_after.isdigit() else 0.0
        raise UnreachableError(f"status {status}: {message}", pause)
    raise DataError(f"{url} refuses the request with status {status}: {message}")


def split_address(url: str) -> SplitResult:
    """Read an address.

    Raises:
        ModelError: it is not one of http.
    """
    where = urlsplit(url)
    if where.scheme not in ("http", "https") or not where.hostname:
        raise ModelError(f"'{url}' is no http address, such as http://127.0.0.1:8000")
    return where
