"""A reward model that another process serves, as a reward source."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult

from reward_models.errors import DataError, ModelError
from reward_models.formatting import Text
from reward_models.http_client import UnreachableError, ask, split_address

logger = logging.getLogger(__name__)


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
        self._where = split_address(self.url)
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
            rows: list[list[float | None]] = answer.get("scores", [])
            if [len(row) for row in rows] != [len(self.names)] * len(prompts):
                raise UnreachableError(f"{len(rows)} rows of scores for {len(prompts)} texts")
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
            answer, _ = ask(split_address(url), "GET", "/info", None, time.monotonic() + min(deadline, 30.0))
        except UnreachableError as error:
            raise ModelError(f"no reward server at {url}: {error}; start one with `prefopt serve`") from error
        names = answer.get("names")
        if not names:
            raise ModelError(f"{url} is no reward server of this kind: /info names no heads")
    return RemoteReward(url, tuple(names), deadline)
