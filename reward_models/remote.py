"""A reward model that another process serves, as a reward source."""

from __future__ import annotations

import http.client
import json
import logging
import random
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

from reward_models.errors import DataError, ModelError
from reward_models.formatting import Text

logger = logging.getLogger(__name__)

AGAIN = (408, 429, 500, 502, 503, 504)
FIRST_PAUSE = 0.25
LONGEST_PAUSE = 10.0


class UnreachableError(Exception):
    """The server gave no answer that can be used; asking again may help."""

    def __init__(self, reason: str, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.pause = pause


@dataclass
class RemoteReward:
    """``source(prompts=..., completions=..., **columns)`` -> a score for each completion, from a ``/score`` server.

    One head gives a list of numbers, several give a list of lists in the order of ``names``. None = no score: the
    server could not score that text, or could not be reached within ``deadline`` seconds, retries included. Both are
    counted. What the server refuses for the request's sake (status 4xx) raises, since asking again cannot help.

    Proxies of the environment are not used: a reward server is a neighbour.
    """

    url: str
    names: tuple[str, ...]
    deadline: float = 120.0
    rows_per_request: int = 256
    failed_requests: int = 0
    failed_rows: int = 0
    unscored_rows: int = 0
    retries: int = 0
    _where: SplitResult = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._where = _split(self.url)
        self.__name__ = "+".join(self.names)

    def __call__(self, prompts: Sequence[Text], completions: Sequence[Text], **columns: Any) -> list[Any]:
        """Score every completion for its prompt."""
        if len(prompts) != len(completions):
            raise DataError(f"{len(prompts)} prompts but {len(completions)} completions; they must pair up")
        until = time.monotonic() + self.deadline
        rows: list[list[float | None]] = []
        for first in range(0, len(prompts), self.rows_per_request):
            last = first + self.rows_per_request
            rows += self._scores(list(prompts[first:last]), list(completions[first:last]), until)
        return [row[0] for row in rows] if len(self.names) == 1 else rows

    def _scores(self, prompts: list[Text], completions: list[Text], until: float) -> list[list[float | None]]:
        body = {"prompts": prompts, "completions": completions}
        try:
            answer, retries = ask(self._where, "POST", "/score", body, until)
            self.retries += retries
            if answer.get("names") != list(self.names):
                raise ModelError(f"{self.url} serves {answer.get('names')} now, and not {list(self.names)}")
            rows: list[list[float | None]] = answer["scores"]
            if len(rows) != len(prompts):
                raise UnreachableError(f"{len(rows)} scores for {len(prompts)} texts")
        except UnreachableError as error:
            self.failed_requests += 1
            self.failed_rows += len(prompts)
            logger.warning("%s: no scores for %d texts: %s", self.url, len(prompts), error)
            return [[None] * len(self.names) for _ in prompts]
        self.unscored_rows += sum(None in row for row in rows)
        return rows


def score_over_http(url: str, names: Sequence[str] | None = None, deadline: float = 120.0) -> RemoteReward:
    """Return a reward source that asks ``prefopt serve`` at ``url``, such as ``http://127.0.0.1:8000``.

    Args:
        url: without a path.
        names: of the server's heads; by default the server is asked.
        deadline: seconds for one call, retries included.

    Raises:
        ModelError: no such server, when ``names`` are not given.
    """
    if names is None:
        try:
            answer, _ = ask(_split(url), "GET", "/info", None, time.monotonic() + min(deadline, 30.0))
        except UnreachableError as error:
            raise ModelError(f"no reward server at {url}: {error}; start one with `prefopt serve`") from error
        names = answer["names"]
    return RemoteReward(url, tuple(names), deadline)


def ask(where: SplitResult, method: str, path: str, body: Any, until: float) -> tuple[dict[str, Any], int]:
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
            return _ask_once(where, method, path, body, until), retries
        except UnreachableError as error:
            pause = min(FIRST_PAUSE * 2**retries, LONGEST_PAUSE) * random.uniform(0.5, 1.0)
            pause = max(pause, error.pause)
            if time.monotonic() + pause >= until:
                raise UnreachableError(f"{error} (after {retries + 1} attempts)") from error
            time.sleep(pause)
            retries += 1


def _ask_once(where: SplitResult, method: str, path: str, body: Any, until: float) -> dict[str, Any]:
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
        connection.request(method, where.path.rstrip("/") + path, payload, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return _checked(response.status, response.read(), response.getheader("Retry-After"), where.geturl() + path)
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError(f"{type(error).__name__}: {error}") from error
    finally:
        guard.cancel()
        connection.close()


def _hang_up(connection: http.client.HTTPConnection) -> None:
    import socket

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


def _split(url: str) -> SplitResult:
    where = urlsplit(url)
    if where.scheme not in ("http", "https") or not where.hostname:
        raise ModelError(f"'{url}' is no http address, such as http://127.0.0.1:8000")
    return where
