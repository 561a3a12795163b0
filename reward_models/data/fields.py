"""Read one field of a row with its type checked; every failure is a `RowFault` that names the field."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Hashable, Mapping
from typing import Any, TypeVar

from reward_models.data.examples import Conversation, Message, Row
from reward_models.data.faults import RowFault

Verdict = TypeVar("Verdict")

ROLES = {
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "system": "system",
    "developer": "developer",
    "tool": "tool",
    "observation": "tool",
}


def present(row: Row, field: str) -> Any:
    """The value of a field that must be there."""
    value = row.get(field)
    if value is None:
        raise RowFault("missing_field", field, "absent or null")
    return value


def text(row: Row, field: str) -> str:
    """A field that must be text."""
    value = present(row, field)
    if not isinstance(value, str):
        raise RowFault("wrong_type", field, f"expected text, found {kind_of(value)}")
    return value


def number(row: Row, field: str) -> float:
    """A field that must be a finite number; booleans and numbers in quotes are refused."""
    value = present(row, field)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise RowFault("wrong_type", field, f"expected a number, found {kind_of(value)}")
    try:
        finite = math.isfinite(value)
    except OverflowError:
        finite = False
    if not finite:
        raise RowFault("not_finite", field, f"expected a finite number, found {str(value)[:40]}")
    return float(value)


def optional_number(row: Row, field: str) -> float | None:
    """A number, or None where the field is absent or null."""
    return None if row.get(field) is None else number(row, field)


def choice(row: Row, field: str, verdicts: Mapping[Any, Verdict]) -> Verdict:
    """The meaning of a field that takes one of a few values."""
    value = present(row, field)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, Hashable) or value not in verdicts:
        allowed = ", ".join(repr(key) for key in verdicts)
        raise RowFault("unknown_label", field, f"expected one of {allowed}; found {str(value)[:40]!r}")
    return verdicts[value]


def records(row: Row, field: str) -> list[Row]:
    """A field that must be a non-empty list of objects."""
    value = present(row, field)
    if not isinstance(value, list) or not value or not all(isinstance(item, Mapping) for item in value):
        raise RowFault("wrong_type", field, f"expected a list of objects, found {kind_of(value)}")
    return value


def record(row: Row, field: str) -> Row:
    """A field that must be an object."""
    value = present(row, field)
    if not isinstance(value, Mapping):
        raise RowFault("wrong_type", field, f"expected an object, found {kind_of(value)}")
    return value


def message(value: Any, field: str) -> Message:
    """One chat message, from ``{role, content}`` or ``{from, value}``."""
    if not isinstance(value, Mapping):
        raise RowFault("wrong_type", field, f"expected a message, found {kind_of(value)}")
    if value.get("tool_calls"):
        raise RowFault("unsupported_content", field, "the message calls tools")
    role = value.get("role", value.get("from"))
    if not isinstance(role, str) or role not in ROLES:
        raise RowFault("wrong_type", field, f"unknown role {str(role)[:40]!r}; known are {', '.join(ROLES)}")
    content = value.get("content", value.get("value"))
    if isinstance(content, list):
        content = _joined_parts(content, field)
    if not isinstance(content, str):
        raise RowFault("wrong_type", field, f"the content of a message must be text, found {kind_of(content)}")
    return {"role": ROLES[role], "content": content}


def _joined_parts(parts: list[Any], field: str) -> str:
    if not all(isinstance(part, Mapping) and isinstance(part.get("text"), str) for part in parts):
        raise RowFault("unsupported_content", field, "the message has parts that are not text")
    return "".join(part["text"] for part in parts)


def conversation(row: Row, field: str) -> Conversation:
    """A field that is text, one message or a list of messages."""
    value = present(row, field)
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return [message(value, field)]
    if isinstance(value, list):
        return [message(item, field) for item in value]
    raise RowFault("wrong_type", field, f"expected text or messages, found {kind_of(value)}")


def messages(row: Row, field: str) -> list[Message]:
    """A field that must be a list of messages."""
    value = conversation(row, field)
    if isinstance(value, str):
        raise RowFault("wrong_type", field, "expected a list of messages, found text")
    return value


def is_messages(value: Any) -> bool:
    """Whether a value looks like chat messages, whatever its faults."""
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)


def remaining(row: Row, used: Collection[str]) -> dict[str, Any]:
    """The columns that a shape does not use: scalars and lists of text as they are, others as JSON text."""
    return {key: flat(value) for key, value in row.items() if key not in used}


def flat(value: Any) -> Any:
    """A value that fits a table's column."""
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return value
    return json.dumps(value, default=str)


def kind_of(value: Any) -> str:
    """The name of a value's type in words of JSON."""
    names = {type(None): "null", bool: "true or false", str: "text", list: "a list", dict: "an object"}
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return "a number"
    return names.get(type(value), type(value).__name__)
