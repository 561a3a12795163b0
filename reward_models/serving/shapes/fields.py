"""Fields that several protocols share: texts, conversations, token ids, and the names of what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from reward_models.formatting import Formatter, Text
from reward_models.serving.errors import bad_field, unscored
from reward_models.serving.service import Scored
from reward_models.serving.tokenising import Wanted


class Body(BaseModel):
    """A request's body: no conversion of types, no unknown fields."""

    model_config = ConfigDict(strict=True, extra="forbid", protected_namespaces=())


def text_of(value: Any, field: str) -> str:
    """Return a text that can be tokenised."""
    if not isinstance(value, str):
        raise bad_field(field, f"expected text, found {kind_of(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise bad_field(field, "no valid Unicode (half of a surrogate pair)") from None
    return value


def messages_of(value: Any, field: str) -> list[dict[str, Any]]:
    """Return a conversation: messages with a role and a content of text."""
    if not isinstance(value, list) or not value:
        raise bad_field(field, f"expected a list of messages, found {kind_of(value)}")
    for index, message in enumerate(value):
        if not isinstance(message, Mapping):
            raise bad_field(f"{field}[{index}]", f"expected a message with role and content, found {kind_of(message)}")
        for key in ("role", "content"):
            if key not in message:
                raise bad_field(f"{field}[{index}].{key}", "is missing")
            text_of(message[key], f"{field}[{index}].{key}")
    return value


def text_or_messages(value: Any, field: str) -> Text:
    """Return a text or a conversation."""
    if isinstance(value, list):
        return messages_of(value, field)
    if not isinstance(value, str):
        raise bad_field(field, f"expected text or a list of messages, found {kind_of(value)}")
    return text_of(value, field)


def is_token(value: Any) -> bool:
    """Whether a value is a token id; JSON's true is no 1."""
    return isinstance(value, int) and not isinstance(value, bool)


def without_start(text: str, formatter: Formatter) -> str:
    """Drop the start token from a text that was rendered with it, since it is put there again."""
    opening = "".join(formatter.tokenizer.convert_ids_to_tokens(formatter.start))
    return text.removeprefix(opening) if opening else text


def kind_of(value: Any) -> str:
    """Name a JSON value's kind."""
    if value is None:
        return "null"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    kinds = {bool: "true or false", int: "a number", float: "a number", str: "text", dict: "an object"}
    return kinds.get(type(value), type(value).__name__)


def finite_scores(scored: Scored, wanted: Sequence[Wanted]) -> list[list[float]]:
    """Return the scores, for responses that cannot say of one text that it has none.

    Raises:
        RequestError: 500, names the first text without a score.
    """
    for number, reason in scored.unscored.items():
        raise unscored(wanted[number].field, reason)
    return [[value for value in row if value is not None] for row in scored.scores]
