"""vLLM's protocol for classifiers: ``POST /classify``.

Request ``{"model", "input" | "messages", "use_activation"}``; response
``{"data": [{"index", "label", "probs", "num_classes"}], "usage"}``.

- **``use_activation`` is on unless sent as false, as with vLLM**: ``probs`` are then sigmoids of the scores, head by
  head (heads are separate questions, so there is no softmax over them). Send false to get the reward itself.
- ``messages`` is one conversation whose last message is the assistant's: that one is scored, as in training.
- ``input`` is a text or several: the whole is scored as a response to an empty prompt. A start token that the tokenizer
  puts before a text, and that a chat template wrote already, is not doubled. Token ids, one list or several, are scored
  as they are and never cut.
- A text that is too long is cut on its left, unless the server refuses such texts; ``truncated`` lists the rows.
- ``label`` is the head with the highest score; ``probs`` has one number a head, in the order of ``/info``'s names.
- ``truncate_prompt_tokens`` is null (the server's setting) or -1 (cut to the model's length).
- A text without a finite score makes the whole answer an error 500.
"""

from __future__ import annotations

import time
import uuid
from typing import Any

from reward_models.serving.errors import bad_field, unknown_model
from reward_models.serving.service import ScoringService
from reward_models.serving.shapes.fields import (
    Body,
    finite_scores,
    is_token,
    kind_of,
    messages_of,
    text_of,
    without_start,
)
from reward_models.serving.shapes.openrlhf import sigmoid
from reward_models.serving.tokenising import Wanted


class ClassifyRequest(Body):
    """What to classify. The last three fields change nothing and are taken for the sake of clients that send them."""

    model: str | None = None
    input: Any = None
    messages: Any = None
    use_activation: bool | None = None
    truncate_prompt_tokens: int | None = None
    user: str | None = None
    request_id: str | None = None
    priority: int | None = None

    def wanted(self, service: ScoringService) -> list[Wanted]:
        """Return the texts to score."""
        if self.model is not None and self.model != service.name:
            raise unknown_model(self.model, service.name)
        if self.truncate_prompt_tokens not in (None, -1):
            raise bad_field("truncate_prompt_tokens", "null or -1; another length would score another text")
        if (self.input is None) == (self.messages is None):
            raise bad_field("input", "exactly one of input and messages must be given")
        return [self._conversation()] if self.messages is not None else self._texts(service)

    def _conversation(self) -> Wanted:
        messages = messages_of(self.messages, "messages")
        if messages[-1]["role"] != "assistant":
            raise bad_field("messages", "the last message must be the assistant's: it is what is scored")
        if len(messages) == 1:
            return Wanted("messages", "", messages[0]["content"])
        return Wanted("messages", messages[:-1], messages[-1:])

    def _texts(self, service: ScoringService) -> list[Wanted]:
        if isinstance(self.input, str):
            return [_whole(self.input, "input", service)]
        if not isinstance(self.input, list) or not self.input:
            raise bad_field("input", f"expected text, token ids, or a list of them, found {kind_of(self.input)}")
        if is_token(self.input[0]):
            return [_tokens(self.input, "input")]
        return [
            _tokens(one, f"input[{i}]") if isinstance(one, list) else _whole(one, f"input[{i}]", service)
            for i, one in enumerate(self.input)
        ]


async def answer_classify(request: ClassifyRequest, service: ScoringService) -> dict[str, Any]:
    """Answer one request."""
    wanted = request.wanted(service)
    scored = await service.score(wanted, True if request.truncate_prompt_tokens == -1 else None)
    names = service.model.names
    activate = request.use_activation is not False
    data = []
    for index, row in enumerate(finite_scores(scored, wanted)):
        best = max(range(len(row)), key=row.__getitem__)
        probs = [sigmoid(value) for value in row] if activate else row
        data.append({"index": index, "label": names[best], "probs": probs, "num_classes": len(names)})
    return {
        "id": f"classify-{uuid.uuid4().hex}",
        "object": "list",
        "created": int(time.time()),
        "model": service.name,
        "data": data,
        "truncated": scored.truncated,
        "usage": {"prompt_tokens": scored.tokens, "total_tokens": scored.tokens, "completion_tokens": 0},
    }


def _whole(value: Any, field: str, service: ScoringService) -> Wanted:
    return Wanted(field, "", without_start(text_of(value, field), service.formatter), whole=True)


def _tokens(values: list[Any], field: str) -> Wanted:
    for index, value in enumerate(values):
        if not is_token(value):
            raise bad_field(f"{field}[{index}]", f"expected a token id, found {kind_of(value)}")
    return Wanted(field, ids=values)
