"""Ask a server for JSON, again and again, until there is an answer or the time is over."""

from __future__ import annotations

import http.client
import json
import math
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import SplitResult, urlsplit

from reward_models.clock import CLOCK, Clock
from reward_models.errors import DataError, ModelError
from reward_models.failures import InfrastructureError, asks_again
from reward_models.redaction import redact


class UnreachableError(InfrastructureError):
    """The server gave no answer that can be used; asking again may help."""


class RefusedError(DataError):
    """The server refuses this request; ``field`` is the part of it that it names."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


def ask(
    where: SplitResult,
    method: str,
    path: str,
    body: Any,
    until: float,
    headers: Mapping[str, str] | None = None,
    clock: Clock = CLOCK,
) -> tuple[dict[str, Any], int]:
    """Ask until there is an answer or the time is over; return the answer and the number of retries.

    Pauses double from 0.25 s to 10 s, with chance in them so that many clients do not return at once; a server's
    Retry-After is kept.

    Raises:
        UnreachableError: the time is over.
        RefusedError: the server refuses this request.
        ModelError: it sends us elsewhere.
    """
    retries = 0
    while True:
        try:
            return ask_once(where, method, path, body, until - clock.now(), headers), retries
        except UnreachableError as error:
            pause = clock.pause(retries, error.pause)
            if clock.now() + pause >= until:
                raise UnreachableError(f"{error} (after {retries + 1} attempts)") from error
            clock.sleep(pause)
            retries += 1


def ask_once(
    where: SplitResult,
    method: str,
    path: str,
    body: Any,
    seconds: float = math.inf,
    headers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Ask once, for at most so many seconds. Raises as `ask` does."""
    if seconds <= 0:
        raise UnreachableError("the time is over")
    kind = http.client.HTTPSConnection if where.scheme == "https" else http.client.HTTPConnection
    limit = None if math.isinf(seconds) else seconds
    connection = kind(where.hostname or "", where.port, timeout=limit)
    begin = time.monotonic()
    # A socket's timeout is for one read: only this ends an answer that trickles.
    line: list[socket.socket] = []
    guard = threading.Timer(0.0 if limit is None else limit, _hang_up, [line])
    guard.daemon = True
    if limit is not None:
        guard.start()
    try:
        connection.connect()
        # The connection forgets its socket as soon as the answer is one that ends it.
        line.append(connection.sock)
        if time.monotonic() - begin >= seconds:
            # The guard may have found nothing to hang up.
            raise TimeoutError
        payload = None if body is None else json.dumps(body).encode()
        sent = {"Content-Type": "application/json", **(headers or {})}
        connection.request(method, where.path.rstrip("/") + path, payload, sent)
        response = connection.getresponse()
        return _checked(response.status, response.read(), response.getheader, redact(where.geturl()) + path)
    except (OSError, http.client.HTTPException) as error:
        if time.monotonic() - begin >= seconds:
            # Whatever the end of the line looks like from here.
            raise UnreachableError(f"no answer within {seconds:.3g} s") from error
        raise UnreachableError(f"{type(error).__name__}: {error}") from error
    finally:
        guard.cancel()
        connection.close()


def _hang_up(line: list[socket.socket]) -> None:
    for one in line:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


def _checked(status: int, content: bytes, header: Callable[[str], str | None], url: str) -> dict[str, Any]:
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        answer = None
    if status == 200 and isinstance(answer, dict):
        return answer
    error = answer.get("error") if isinstance(answer, dict) else None
    message = error["message"] if isinstance(error, dict) and "message" in error else f"{len(content)} bytes"
    if status == 200 or asks_again(status):
        raise UnreachableError(f"status {status}: {message}", seconds_to_wait(header("Retry-After")))
    if 300 <= status < 400:
        # Followed, it would send the texts to whoever the answer names.
        raise ModelError(
            f"{url} redirects (status {status}) to {header('Location') or 'nowhere'}, which is not followed; if that "
            "is your server, give its address"
        )
    field = error.get("param") if isinstance(error, dict) else None
    raise RefusedError(f"{url} refuses the request with status {status}: {message}", str(field or ""))


def seconds_to_wait(retry_after: str | None) -> float:
    """Return the seconds that a ``Retry-After`` names, as a number or as a date; 0 where it names none."""
    if not retry_after:
        return 0.0
    with suppress(ValueError):
        seconds = float(retry_after)
        return seconds if math.isfinite(seconds) and seconds > 0 else 0.0
    with suppress(ValueError, TypeError):
        then = parsedate_to_datetime(retry_after)
        then = then if then.tzinfo else then.replace(tzinfo=UTC)
        return max(0.0, (then - datetime.now(UTC)).total_seconds())
    return 0.0


def split_address(url: str) -> SplitResult:
    """Read an address.

    Raises:
        ModelError: it is not one of http.
    """
    try:
        where = urlsplit(url)
        usable = where.scheme in ("http", "https") and where.hostname and where.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ModelError(f"'{redact(url)}' is no http address, such as http://127.0.0.1:8000")
    return where
