"""What waits in the queue: the rows of a request, and where their scores go."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from time import monotonic
from typing import NamedTuple

from reward_models.formatting import Encoded

logger = logging.getLogger(__name__)

Outcome = list[float] | Exception


@dataclass
class Counts:
    """What the worker did so far. ``scored`` are forward passes' rows, ``shared`` texts whose equal was scored."""

    texts: int = 0
    scored: int = 0
    shared: int = 0
    passes: int = 0
    failed: int = 0
    refused: int = 0


@dataclass
class Job:
    """Tokenised rows that one request waits for; ``left`` of them have no outcome yet, and ``taken`` left the queue."""

    rows: Sequence[Encoded]
    outcomes: list[Outcome | None]
    left: int
    taken: int = 0
    arrived: float = field(default_factory=monotonic)
    future: Future[list[Outcome]] = field(default_factory=Future)

    def settle(self, index: int, outcome: Outcome) -> None:
        """Note the outcome of a row, the first that comes; the last row answers the request."""
        if self.outcomes[index] is not None:
            return
        self.outcomes[index] = outcome
        self.left -= 1
        if self.left == 0:
            try:
                self.future.set_result([one for one in self.outcomes if one is not None])
            except InvalidStateError:
                logger.debug("a request was given up before its scores were there")

    @property
    def waiting(self) -> int:
        """Tokens that are still in the queue."""
        return sum(len(row.input_ids) for row in self.rows[self.taken :])


class Entry(NamedTuple):
    """One row of a job."""

    job: Job
    row: int

    @property
    def encoded(self) -> Encoded:
        """Its tokens."""
        return self.job.rows[self.row]

    @property
    def tokens(self) -> int:
        """How many tokens it has."""
        return len(self.encoded.input_ids)
