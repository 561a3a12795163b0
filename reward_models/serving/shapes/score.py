"""Our own protocol: ``POST /score``, all heads.

Request ``{"prompts": [...], "completions": [...]}``, each a text or a list of messages; response
``{"scores": [[...K] ...N], "names": [...K], "unscored": {row: reason}, "truncated": [rows]}``. A score that is missing
is null, never 0. A request may have ``ids``, one a pair, all different; they come back in the order of the scores, so
that a client need not trust places.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from reward_models.serving.errors import bad_field
from reward_models.serving.service import ScoringService
from reward_models.serving.shapes.fields import Body, text_of, text_or_messages
from reward_models.serving.tokenising import Wanted


class ScoreRequest(Body):
    """Pairs to score. ``truncate`` overrides the server's setting."""

    prompts: Annotated[list[Any], Field(min_length=1)]
    completions: Annotated[list[Any], Field(min_length=1)]
    truncate: bool | None = None
    ids: list[str] | None = None

    def wanted(self) -> list[Wanted]:
        """Return the texts to score."""
        if len(self.prompts) != len(self.completions):
            raise bad_field(
                "completions", f"{len(self.completions)} for {len(self.prompts)} prompts; they must pair up"
            )
        if self.ids is not None and (len(self.ids) != len(self.prompts) or len(set(self.ids)) != len(self.ids)):
            raise bad_field("ids", f"expected {len(self.prompts)} different ones, one a pair")
        for i, name in enumerate(self.ids or ()):
            text_of(name, f"ids[{i}]")
        return [
            Wanted(
                f"completions[{i}]",
                text_or_messages(prompt, f"prompts[{i}]"),
                text_or_messages(completion, f"completions[{i}]"),
            )
            for i, (prompt, completion) in enumerate(zip(self.prompts, self.completions, strict=True))
        ]


async def answer_score(request: ScoreRequest, service: ScoringService) -> dict[str, Any]:
    """Answer one request."""
    scored = await service.score(request.wanted(), request.truncate)
    ids = {} if request.ids is None else {"ids": request.ids}
    return ids | {
        "scores": scored.scores,
        "names": list(service.model.names),
        "unscored": {str(number): reason for number, reason in scored.unscored.items()},
        "truncated": scored.truncated,
    }
