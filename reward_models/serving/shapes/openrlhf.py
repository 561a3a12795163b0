"""OpenRLHF's remote reward server: ``POST /get_reward``.

Request ``{"query": [...], "prompts": [...], "labels": [...]}``; response ``{"rewards", "scores", "extra_logs"}``.

- ``query`` holds prompt and response in one text. Where ``prompts`` are given and the query starts with its prompt,
  that is where the two are told apart, as in training. Otherwise the whole query is scored as a response to an empty
  prompt, and ``extra_logs["prompt_not_found"]`` is 1 for it (only where prompts are given).
- ``rewards`` are the first head's scores, or the one's that the server was told. ``scores`` are their sigmoids, since
  OpenRLHF filters prompts by scores between 0 and 1. ``extra_logs`` has every head under its name, and ``truncated``:
  1 for a text that was cut (a whole query loses tokens on its left).
- ``labels`` are taken and not read: a reward model judges the text.
- A text without a finite score makes the whole answer an error 500, because a reward cannot be null there.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import Field

from reward_models.serving.errors import bad_field
from reward_models.serving.service import ScoringService
from reward_models.serving.shapes.fields import Body, finite_scores, text_of, without_start
from reward_models.serving.tokenising import Wanted

NOT_FOUND = "prompt_not_found"
TRUNCATED = "truncated"


class RewardRequest(Body):
    """Texts to score, with or without the prompts that they start with."""

    query: Annotated[list[Any], Field(min_length=1)]
    prompts: list[Any] | None = None
    labels: Any = None

    def wanted(self, service: ScoringService) -> list[Wanted]:
        """Return the texts to score."""
        prompts = self.prompts or [""] * len(self.query)
        if len(prompts) != len(self.query):
            raise bad_field("prompts", f"{len(prompts)} for {len(self.query)} queries; leave them out, or pair them up")
        texts = []
        for i, (query, prompt) in enumerate(zip(self.query, prompts, strict=True)):
            whole = without_start(text_of(query, f"query[{i}]"), service.formatter)
            start = without_start(text_of(prompt, f"prompts[{i}]"), service.formatter)
            if start and whole.startswith(start):
                texts.append(Wanted(f"query[{i}]", start, whole[len(start) :]))
            else:
                texts.append(Wanted(f"query[{i}]", "", whole, whole=True))
        return texts


async def answer_get_reward(request: RewardRequest, service: ScoringService, head: str) -> dict[str, Any]:
    """Answer one request with the scores of ``head``."""
    wanted = request.wanted(service)
    scored = await service.score(wanted)
    rows = finite_scores(scored, wanted)
    names = service.model.names
    columns = {name: [row[k] for row in rows] for k, name in enumerate(names)}
    cut = set(scored.truncated)
    extra = {**columns, TRUNCATED: [float(i in cut) for i in range(len(rows))]}
    if request.prompts:
        given = [bool(without_start(prompt, service.formatter)) for prompt in request.prompts]
        extra[NOT_FOUND] = [float(asked and text.whole) for asked, text in zip(given, wanted, strict=True)]
    rewards = columns[head]
    return {"rewards": rewards, "scores": [sigmoid(value) for value in rewards], "extra_logs": extra}


def sigmoid(value: float) -> float:
    """``1 / (1 + exp(-value))``, without overflow."""
    if value >= 0:
        return 1.0 / (1.0 + math.exp(-value))
    return math.exp(value) / (1.0 + math.exp(value))
