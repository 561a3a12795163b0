"""From texts to scores: tokenise, refuse what cannot be scored, queue, wait."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from reward_models.model import RewardModel
from reward_models.serving.batcher import MicroBatcher
from reward_models.serving.errors import RequestError, no_scores_here, queue_full, stopping, timed_out
from reward_models.serving.jobs import Outcome
from reward_models.serving.settings import ServingSettings
from reward_models.serving.tokenising import Tokeniser, Wanted

FAILURES_TO_BE_ILL = 3
LOOK_EVERY = 0.1


@dataclass(frozen=True)
class Scored:
    """Scores of N texts by K heads; None = no finite score, for the reason in ``unscored`` (row -> reason)."""

    scores: list[list[float | None]]
    unscored: dict[int, str]
    truncated: list[int]
    tokens: int


class ScoringService:
    """A reward model with its queue. ``under_way`` counts requests, ``stopping`` says that there will be no more, and
    ``hurried`` that nothing is worth waiting for.

    Tokenising has threads of its own, so that it runs beside the model and neither runs in the event loop.

    Raises:
        ModelError: ``max_length`` is more than the model takes.
    """

    def __init__(self, model: RewardModel, name: str, settings: ServingSettings | None = None) -> None:
        self.settings = settings or ServingSettings()
        self.model = model.eval().requires_grad_(False)
        self.name = name
        self.formatter = model.formatter(self.settings.max_length)
        self.batcher = MicroBatcher(model, self.settings)
        self.stopping = False
        self.hurried = False
        self.under_way = 0
        self._tokeniser = Tokeniser(self.formatter, model.backbone.get_input_embeddings().num_embeddings)

    @property
    def busy(self) -> bool:
        """Whether a thread still works, which would keep the process from ending."""
        return self.batcher.alive or self._tokeniser.busy

    @property
    def illness(self) -> str | None:
        """Why the process should be replaced, or None."""
        if not self.batcher.alive:
            return "the scoring thread has ended"
        if self._hangs:
            return self._hangs
        if self.batcher.failures_in_a_row >= FAILURES_TO_BE_ILL:
            return f"the last {self.batcher.failures_in_a_row} texts could not be scored"
        return None

    async def score(self, texts: Sequence[Wanted], truncate: bool | None = None) -> Scored:
        """Score texts in order; ``truncate`` overrides the server's setting.

        Raises:
            RequestError: what is wrong with the request, or with the server's load.
        """
        cut = self.settings.truncate if truncate is None else truncate
        with self.batcher.place(len(texts)):
            try:
                async with asyncio.timeout(self.settings.request_timeout):
                    rows, truncated = await self._tokeniser(texts, cut)
                    outcomes = await asyncio.wrap_future(self.batcher.submit(rows))
            except TimeoutError:
                raise timed_out(self.settings.request_timeout) from None
        return _scored(outcomes, len(self.model.names), truncated, sum(len(row.input_ids) for row in rows))

    @property
    def _hangs(self) -> str | None:
        busy = self.batcher.busy
        return f"a forward pass has been running for {busy:.1f} s" if busy > self.settings.request_timeout else None

    @property
    def refusal(self) -> RequestError | None:
        """Why new requests should go elsewhere, or None; texts that fail are no reason, since others succeed."""
        if self.stopping:
            return stopping()
        if not self.batcher.alive:
            return no_scores_here("the scoring thread has ended")
        if self._hangs:
            return no_scores_here(self._hangs)
        if self.batcher.admitted >= self.settings.queue_size:
            return queue_full(self.settings.queue_size, 1.0)
        return None

    def close(self) -> bool:
        """Finish what is queued and end both threads; False where a forward pass goes on and on."""
        self._tokeniser.close()
        until = monotonic() + max(1.0, self.settings.request_timeout - self.batcher.busy)
        while not (ended := self.batcher.close(LOOK_EVERY)) and monotonic() < until and not self.hurried:
            pass
        return ended


def _scored(outcomes: Sequence[Outcome], heads: int, truncated: list[int], tokens: int) -> Scored:
    scores: list[list[float | None]] = []
    reasons: dict[int, str] = {}
    for number, outcome in enumerate(outcomes):
        if isinstance(outcome, Exception):
            reasons[number] = f"{type(outcome).__name__}: {outcome}"
            scores.append([None] * heads)
            continue
        if not all(map(math.isfinite, outcome)):
            reasons[number] = "the score is not finite"
        scores.append([value if math.isfinite(value) else None for value in outcome])
    return Scored(scores, reasons, truncated, tokens)


def describe(service: ScoringService) -> dict[str, Any]:
    """What a client may want to know: the model, its heads, limits, and what was done so far."""
    model, settings = service.model, service.settings
    return {
        "model": service.name,
        "names": list(model.names),
        "statistics": model.statistics,
        "pooling": model.pooling,
        "max_length": service.formatter.max_length,
        "settings": vars(settings),
        "waiting": service.batcher.admitted,
        "counts": vars(service.batcher.counts),
    }
