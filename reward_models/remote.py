"""A reward model that another process serves, as a reward source."""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import SplitResult

from reward_models.clock import CLOCK, Clock
from reward_models.errors import DataError, ModelError
from reward_models.failures import Failure, InfrastructureError, Ungradable
from reward_models.formatting import Text
from reward_models.http_client import RefusedError, UnreachableError, ask, ask_once, split_address
from reward_models.patience import Call, Patience, carry_out, inquiry
from reward_models.redaction import redact
from reward_models.served_rows import read_rows

logger = logging.getLogger(__name__)

NAMED_ROW = re.compile(r"(?:prompts|completions)\[(\d+)\]")


@dataclass
class RemoteReward:
    """``source(prompts=..., completions=..., **columns)`` -> a score for each completion, from a ``/score`` server.

    One head gives a list of numbers, several give a list of lists in the order of ``names``. None = no score: the
    server could not score that text, refuses it (status 400 that names it), or gave no usable answer within
    ``deadline`` seconds, retries included; `with_failures` tells which. All are counted. What the server refuses
    otherwise (status 4xx, a redirect, other heads) raises, since asking again cannot help.

    Every text is sent with an id of its own. A server that returns ids is matched by them: texts that it leaves out are
    asked again, the others keep their scores. Without ids an answer must be complete and in the order of the question.

    Proxies of the environment are not used: a reward server is a neighbour.

    Attributes:
        deadline: seconds for a call, retries included. timeout: for one request; None = until the deadline.
        attempts: requests for the same texts; None = until the deadline.
        failed_requests, failed_rows: that got no usable answer. unscored_rows: that the server has no score for.
        retries: requests that were repeated.
    """

    url: str = field(repr=False)
    names: tuple[str, ...]
    deadline: float = 120.0
    rows_per_request: int = 256
    failed_requests: int = 0
    failed_rows: int = 0
    unscored_rows: int = 0
    retries: int = 0
    timeout: float | None = None
    attempts: int | None = None
    clock: Clock = field(default_factory=lambda: CLOCK, repr=False)
    _where: SplitResult = field(init=False, repr=False)
    _sends_ids: bool = field(default=True, init=False, repr=False)

    # For who asks this source: it asks again by itself.
    patience: ClassVar[Patience] = Patience(retries=0, row_wise=True)

    def __post_init__(self) -> None:
        self._where = split_address(self.url)
        self.__name__ = "+".join(self.names)

    def __call__(self, prompts: Sequence[Text], completions: Sequence[Text], **columns: Any) -> list[Any]:
        """Score every completion for its prompt."""
        blank: Any = None if len(self.names) == 1 else [None] * len(self.names)
        rows = [blank if isinstance(row, Failure) else row for row in self.with_failures(prompts, completions)]
        return [[_plain(cell) for cell in row] if isinstance(row, list) else row for row in rows]

    def with_failures(self, prompts: Sequence[Text], completions: Sequence[Text], **columns: Any) -> list[Any]:
        """Score likewise, with the failure itself in the place of each None."""
        if len(prompts) != len(completions):
            raise DataError(f"{len(prompts)} prompts but {len(completions)} completions; they must pair up")
        asked: set[int] = set()

        def call(what: Call) -> list[Any]:
            self.retries += not asked.isdisjoint(what.rows)
            asked.update(what.rows)
            return self._request([(prompts[row], completions[row]) for row in what.rows], what.seconds)

        attempts = None if self.attempts is None else self.attempts - 1
        manner = Patience(self.timeout, self.deadline, attempts, self.rows_per_request, True, None)
        rows: list[Any] = carry_out(inquiry(len(prompts), manner, self.clock), call, self.clock)
        failed = [number for number, row in enumerate(rows) if isinstance(row, InfrastructureError)]
        if failed:
            self.failed_rows += len(failed)
            self.failed_requests += len({number // self.rows_per_request for number in failed})
            logger.warning("%s: no scores for %d texts: %s", redact(self.url), len(failed), rows[failed[-1]])
        self.unscored_rows += sum(any(isinstance(cell, Ungradable) for cell in _cells(row)) for row in rows)
        return rows

    def _request(self, texts: list[tuple[Text, Text]], seconds: float) -> list[Any]:
        """Return the answers about some texts; those that the server refuses by name are left out and asked no more."""
        until = self.clock.now() + seconds
        found: list[Any] = [None] * len(texts)
        left = list(range(len(texts)))
        while left:
            try:
                answers = self._ask([texts[row] for row in left], until - self.clock.now())
            except RefusedError as error:
                if error.field == "ids" and self._sends_ids:
                    self._sends_ids = False
                    continue
                named = NAMED_ROW.match(error.field)
                if named is None or int(named[1]) >= len(left):
                    raise
                found[left.pop(int(named[1]))] = Ungradable(str(error))
                continue
            except UnreachableError as error:
                answers = [error] * len(left)
            for row, answer in zip(left, answers, strict=True):
                found[row] = answer
            break
        return found

    def _ask(self, texts: list[tuple[Text, Text]], seconds: float) -> list[Any]:
        body: dict[str, Any] = {"prompts": [text[0] for text in texts], "completions": [text[1] for text in texts]}
        token = secrets.token_hex(4)
        ids = [f"{token}-{number}" for number in range(len(texts))]
        answer = ask_once(self._where, "POST", "/score", body | ({"ids": ids} if self._sends_ids else {}), seconds)
        if answer.get("names") != list(self.names):
            raise ModelError(f"{redact(self.url)} serves {answer.get('names')} now, and not {list(self.names)}")
        return read_rows(answer, ids, len(self.names))


def _cells(row: Any) -> list[Any]:
    return row if isinstance(row, list) else [row]


def _plain(cell: Any) -> Any:
    return None if isinstance(cell, Failure) else cell


def score_over_http(
    url: str,
    names: Sequence[str] | None = None,
    deadline: float = 120.0,
    timeout: float | None = None,
    attempts: int | None = None,
    rows_per_request: int = 256,
) -> RemoteReward:
    """Return a reward source that asks ``prefopt serve`` at ``url``, such as ``http://127.0.0.1:8000``.

    Args:
        url: without a path.
        names: of the server's heads; by default the server is asked.
        deadline: seconds for one call, retries included. timeout, attempts, rows_per_request: see `RemoteReward`.

    Raises:
        ModelError: no such server, when ``names`` are not given.
    """
    if names is None:
        try:
            answer, _ = ask(split_address(url), "GET", "/info", None, time.monotonic() + min(deadline, 30.0))
        except UnreachableError as error:
            raise ModelError(f"no reward server at {redact(url)}: {error}; start one with `prefopt serve`") from error
        names = answer.get("names")
        if not names:
            raise ModelError(f"{redact(url)} is no reward server of this kind: /info names no heads")
    return RemoteReward(
        url, tuple(names), deadline, rows_per_request=rows_per_request, timeout=timeout, attempts=attempts
    )
