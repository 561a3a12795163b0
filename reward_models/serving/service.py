"""From texts to scores: tokenise, refuse what cannot be scored, queue, wait."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from jinja2 import TemplateError

from reward_models.errors import DataError
from reward_models.formatting import Encoded, Text
from reward_models.model import RewardModel
from reward_models.serving.batcher import MicroBatcher
from reward_models.serving.errors import RequestError, bad_field, no_scores_here, queue_full, stopping, timed_out
from reward_models.serving.jobs import Outcome
from reward_models.serving.settings import ServingSettings

FAILURES_TO_BE_ILL = 3


@dataclass(frozen=True)
class Wanted:
    """A text to score; ``field`` names it in errors.

    It is a prompt and a completion; or a ``completion`` that is ``whole``, prompt included, and loses tokens on its
    left where it is too long, as a prompt does; or token ids that are taken as they are.
    """

    field: str
    prompt: Text = ""
    completion: Text = ""
    whole: bool = False
    ids: Sequence[int] | None = None


@dataclass(frozen=True)
class Scored:
    """Scores of N texts by K heads; None = no finite score, for the reason in ``unscored`` (row -> reason)."""

    scores: list[list[float | None]]
    unscored: dict[int, str]
    truncated: list[int]
    tokens: int


class ScoringService:
    """A reward model with its queue. ``under_way`` counts requests, ``stopping`` says that there will be no more.

    Tokenising has a thread of its own, so that it runs beside the model and neither runs in the event loop.

    Raises:
        ModelError: ``max_length`` is more than the model takes.
    """

    def __init__(self, model: RewardModel, name: str, settings: ServingSettings | None = None) -> None:
        self.settings = settings or ServingSettings()
        self.model = model.eval().requires_grad_(False)
        self.name = name
        self.formatter = model.formatter(self.settings.max_length)
        self._unlimited = replace(self.formatter, max_length=None)
        self.vocabulary = model.backbone.get_input_embeddings().num_embeddings
        self.batcher = MicroBatcher(model, self.settings)
        self.stopping = False
        self.under_way = 0
        self._tokeniser = ThreadPoolExecutor(1, thread_name_prefix="tokeniser")

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
        loop = asyncio.get_running_loop()
        with self.batcher.place(len(texts)):
            try:
                async with asyncio.timeout(self.settings.request_timeout):
                    rows, truncated = await loop.run_in_executor(self._tokeniser, self._encode, texts, cut)
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
        self._tokeniser.shutdown(wait=False)
        return self.batcher.close(max(1.0, self.settings.request_timeout - self.batcher.busy))

    def _encode(self, texts: Sequence[Wanted], truncate: bool) -> tuple[list[Encoded], list[int]]:
        rows: list[Encoded] = []
        truncated: list[int] = []
        limit = self.formatter.max_length
        for number, text in enumerate(texts):
            row, lost = self._row(text)
            if lost and not truncate:
                size = len(row.input_ids) + lost
                raise bad_field(text.field, f"{size} tokens, but at most {limit} are scored; shorten it")
            if not row.input_ids:
                raise bad_field(text.field, "no tokens; the model needs at least one")
            if lost:
                truncated.append(number)
            rows.append(row)
        return rows, truncated

    def _row(self, text: Wanted) -> tuple[Encoded, int]:
        if text.ids is not None:
            return Encoded(list(self._checked_ids(text.field, text.ids)), 0), 0
        try:
            formatter = self._unlimited if text.whole else self.formatter
            encoded = formatter.encode(text.prompt, text.completion)
        except (DataError, TemplateError) as error:
            raise bad_field(text.field, str(error)) from error
        except Exception as error:
            # A chat template is a program: it may fail in any way on messages that it was not written for.
            raise bad_field(text.field, f"cannot be tokenised ({type(error).__name__}: {error})") from error
        if text.whole and self.formatter.max_length is not None:
            return _cut_on_the_left(encoded, self.formatter.max_length)
        return encoded, encoded.prompt_cut + encoded.response_cut

    def _checked_ids(self, field: str, ids: Sequence[int]) -> Sequence[int]:
        limit = self.formatter.max_length
        if limit is not None and len(ids) > limit:
            raise bad_field(field, f"{len(ids)} tokens, but at most {limit} are scored; token ids are never cut")
        for index, token in enumerate(ids):
            if not 0 <= token < self.vocabulary:
                raise bad_field(f"{field}[{index}]", f"token {token} is not in the vocabulary of {self.vocabulary}")
        return ids


def _cut_on_the_left(encoded: Encoded, limit: int) -> tuple[Encoded, int]:
    lost = max(0, len(encoded.input_ids) - limit)
    start = encoded.response_start
    return Encoded(encoded.input_ids[:start] + encoded.input_ids[start + lost :], start), lost


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
