"""Texts of many requests in shared forward passes, run by one thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from time import monotonic

from torch import Tensor

from reward_models.formatting import Encoded
from reward_models.model import RewardModel
from reward_models.serving.errors import no_scores_here, queue_full, stopping, too_many_texts
from reward_models.serving.jobs import Counts, Entry, Job, Outcome
from reward_models.serving.line import Line
from reward_models.serving.settings import ServingSettings

logger = logging.getLogger(__name__)

# Forward passes' worth of tokens taken from the queue at once: enough to sort rows by length, few enough that the next
# request does not wait for the whole queue. On a slow machine no more than about a second's, but always some.
PASSES = 4
TURN_SECONDS = 1.0
LEAST_TURN = 2048


class MicroBatcher:
    """Collects rows for at most ``max_wait_ms``, batches them by length under the token budget, scores equal rows once.

    Requests give a row each in turn, so that a large one does not hold up those that come after it. The thread that
    calls `submit` never runs the model. A pass that fails is split in halves until the row at fault stands alone, so
    that no request suffers from another's text.

    Args:
        model: groups rows into batches and scores them; called in the worker thread only.
        settings: limits.
    """

    def __init__(self, model: RewardModel, settings: ServingSettings) -> None:
        self.model = model
        self.settings = settings
        self.counts = Counts()
        self.failures_in_a_row = 0
        self._changed = threading.Condition()
        self._waiting = Line()
        self._admitted = 0
        self._closed = False
        self._seconds = 0.0
        self._speed = 0.0
        self._begun: float | None = None
        self._worker = threading.Thread(target=self._work, name="reward-model", daemon=True)
        self._worker.start()

    @property
    def admitted(self) -> int:
        """Texts that were taken in and are not answered yet."""
        return self._admitted

    @property
    def alive(self) -> bool:
        """Whether the worker thread runs."""
        return self._worker.is_alive()

    @property
    def busy(self) -> float:
        """How long the present forward pass has been running."""
        begun = self._begun
        return 0.0 if begun is None else monotonic() - begun

    @contextmanager
    def place(self, count: int) -> Iterator[None]:
        """Hold room for ``count`` texts, from before they are tokenised until they are answered.

        Raises:
            RequestError: 413 more texts than the queue has room for at all, 429 at present, 503 when closed.
        """
        limit = self.settings.queue_size
        if count > limit:
            raise too_many_texts(count, limit)
        with self._changed:
            self._check_open()
            if self._admitted + count > limit:
                self.counts.refused += count
                raise queue_full(limit, self._seconds)
            self._admitted += count
        try:
            yield
        finally:
            with self._changed:
                self._admitted -= count

    def score(self, rows: list[Encoded]) -> Tensor:
        """Score the rows of one batch in one forward pass. Shape: (N, K)."""
        return self.model.score_encoded(rows, batch_size=len(rows))

    def submit(self, rows: Sequence[Encoded]) -> Future[list[Outcome]]:
        """Queue tokenised rows; the future gives K scores, or the exception, for each, in order.

        Cancel the future to take back the rows that were not scored yet.
        """
        job = Job(rows, [None for _ in rows], len(rows))
        with self._changed:
            self._check_open()
            self._waiting.add(job)
            self.counts.texts += len(rows)
            self._changed.notify()
        return job.future

    def close(self, patience: float | None = None) -> bool:
        """Take nothing more, score what is queued, and end the thread; False where it did not end in time."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._worker.join(patience)
        return not self.alive

    def _check_open(self) -> None:
        if self._closed:
            raise stopping()
        if not self.alive:
            raise no_scores_here("the scoring thread has ended")

    def _work(self) -> None:
        entries: list[Entry] | None = []
        try:
            while (entries := self._collect()) is not None:
                started = monotonic()
                try:
                    self._score(entries)
                except Exception as error:
                    logger.exception("%d texts cannot be scored", len(entries))
                    self.failures_in_a_row += 1
                    self._settle(entries, error)
                self._seconds = monotonic() - started
                if entries and self._seconds > 0:
                    self._speed = sum(entry.tokens for entry in entries) / self._seconds
        finally:
            # Whatever ends this thread, nobody waits for it.
            with self._changed:
                self._closed = True
                left = [*(entries or ()), *self._waiting.clear()]
            self._settle(left, RuntimeError("the scoring thread has ended"))

    @staticmethod
    def _settle(entries: list[Entry], error: Exception) -> None:
        for entry in entries:
            entry.job.settle(entry.row, error)

    def _collect(self) -> list[Entry] | None:
        budget = self.settings.max_batch_tokens
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            if not self._waiting:
                return None
            until = self._waiting.since + self.settings.max_wait_ms / 1000
            while not self._closed and self._waiting.tokens < budget and (left := until - monotonic()) > 0:
                self._changed.wait(left)
            return self._waiting.take(min(PASSES * budget, max(LEAST_TURN, self._speed * TURN_SECONDS)))

    def _score(self, entries: list[Entry]) -> None:
        equal: dict[tuple[int, ...], list[Entry]] = {}
        for entry in entries:
            equal.setdefault(tuple(entry.encoded.input_ids), []).append(entry)
        wanted = list(equal.values())
        for batch in self.model.batches([same[0].encoded for same in wanted], self.settings.max_batch_tokens):
            # A request may have timed out while earlier batches ran.
            alive = [wanted[i] for i in batch.rows if any(not entry.job.future.done() for entry in wanted[i])]
            for same, outcome in zip(alive, self._outcomes([same[0].encoded for same in alive]), strict=True):
                self.counts.shared += len(same) - 1
                for entry in same:
                    entry.job.settle(entry.row, list(outcome) if isinstance(outcome, list) else outcome)

    def _outcomes(self, rows: list[Encoded]) -> list[Outcome]:
        if not rows:
            return []
        self.counts.passes += 1
        self._begun = monotonic()
        try:
            scores: list[Outcome] = self.score(rows).tolist()
            # Fewer or more would be handed to the wrong texts.
            if len(scores) != len(rows):
                raise RuntimeError(f"the model gave {len(scores)} scores for {len(rows)} texts")
        except Exception as error:
            self._begun = None
            if len(rows) > 1:
                middle = len(rows) // 2
                return self._outcomes(rows[:middle]) + self._outcomes(rows[middle:])
            logger.exception("a text of %d tokens cannot be scored", len(rows[0].input_ids))
            self.failures_in_a_row += 1
            self.counts.failed += 1
            return [error]
        self._begun = None
        self.failures_in_a_row = 0
        self.counts.scored += len(rows)
        return scores
