"""One value from a flag or a YAML file to the type that a dataclass field declares."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import yaml

from prefopt.errors import nearest

TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


class MismatchError(ValueError):
    """The value has the wrong type. The message says what was expected and what came."""


def members(kind: Any) -> tuple[Any, ...]:
    """Return the alternatives of a union, or the type alone: ``float | None`` gives ``(float, NoneType)``."""
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def is_boolean(kind: Any) -> bool:
    """Whether the field is a switch: ``bool`` or ``bool | None``."""
    return bool in members(kind) and set(members(kind)) <= {bool, type(None)}


def is_sequence(kind: Any) -> bool:
    """Whether the field takes several values on the command line."""
    return any((get_origin(member) or member) in (list, tuple, Sequence) for member in members(kind))


def describe(kind: Any) -> str:
    """Return the name of a type in plain words: ``float | None`` is 'a number or null'."""
    words = [_describe_one(member) for member in _without_text_beside_enum(kind) if member is not type(None)]
    return " or ".join(dict.fromkeys(words + ["null"] * (type(None) in members(kind))))


def from_text(text: str, kind: Any) -> Any:
    """Convert one word of the command line. It stays text only where no other member takes it."""
    options = _without_text_beside_enum(kind)
    if type(None) in options and (text == "null" or (text.lower() == "none" and str not in options)):
        return None
    for option in sorted(options, key=lambda member: member is str):
        try:
            return _text_to_one(text, option)
        except MismatchError:
            continue
    raise _mismatch(text, kind)


def from_yaml(value: Any, kind: Any) -> Any:
    """Convert one value of a YAML file. Text is read as a number where only a number fits."""
    options = _without_text_beside_enum(kind)
    if value is None and type(None) in options:
        return None
    for option in sorted(options, key=lambda member: not _is_exactly(value, member)):
        try:
            return _yaml_to_one(value, option)
        except MismatchError:
            if len(options) == 1:
                raise
    raise _mismatch(value, kind)


def _text_to_one(text: str, kind: Any) -> Any:
    if kind is bool:
        if text.lower() in TRUE + FALSE:
            return text.lower() in TRUE
        raise _mismatch(text, kind)
    origin = get_origin(kind) or kind
    if origin in (dict, Mapping, list, tuple, Sequence):
        try:
            parsed = yaml.safe_load(text)
        except yaml.YAMLError:
            raise _mismatch(text, kind) from None
        if origin in (list, tuple, Sequence) and not isinstance(parsed, list):
            return from_words([text], kind)
        return _yaml_to_one(parsed, kind)
    if origin is Literal:
        for choice in get_args(kind):
            if str(choice).lower() == text.lower() and (isinstance(choice, bool) or str(choice) == text):
                return choice
    return _yaml_to_one(text, kind)


def from_words(words: list[str], kind: Any) -> Any:
    """Convert the several words that follow a flag: ``--report-to tensorboard wandb``."""
    if not is_sequence(kind):
        return from_text(words[0], kind)
    if len(words) == 1 and (str in members(kind) or words[0].startswith("[")):
        return from_text(words[0], kind)
    sequence = next(member for member in members(kind) if (get_origin(member) or member) in (list, tuple, Sequence))
    element = (get_args(sequence) or (str,))[0]
    values = [from_text(word, element) for word in words]
    return tuple(values) if get_origin(sequence) is tuple else values


def _yaml_to_one(value: Any, kind: Any) -> Any:
    origin = get_origin(kind) or kind
    if kind is Any or kind is object:
        return value
    if origin is Literal and value in get_args(kind):
        return value
    if isinstance(kind, type) and issubclass(kind, Enum):
        choices = [choice.value for choice in kind]
        if value is False and "no" in choices:  # YAML 1.1 reads a bare `no` as false
            return "no"
        if value in choices:
            return value
    elif origin in (dict, Mapping) and isinstance(value, Mapping):
        element = (get_args(kind) or (Any, Any))[1]
        return {str(key): from_yaml(item, element) for key, item in value.items()}
    elif origin in (list, tuple, Sequence) and isinstance(value, list):
        element = (get_args(kind) or (Any,))[0]
        items = [from_yaml(item, element) for item in value]
        return tuple(items) if origin is tuple else items
    elif kind in (int, float):
        return _number(value, kind)
    elif kind is Path and isinstance(value, str):
        return Path(value)
    elif isinstance(kind, type) and origin not in (list, tuple, dict) and isinstance(value, kind):
        return value
    raise _mismatch(value, kind)


def _number(value: Any, kind: type) -> int | float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise _mismatch(value, kind)
    try:
        number = int(value) if kind is int and isinstance(value, str) and value.lstrip("+-").isdigit() else float(value)
    except ValueError:
        raise _mismatch(value, kind) from None
    if math.isnan(number) or (kind is int and not float(number).is_integer()):
        raise _mismatch(value, kind)
    return int(value) if kind is int and isinstance(value, int) else kind(number)


def _is_exactly(value: Any, kind: Any) -> bool:
    origin = get_origin(kind) or kind
    return isinstance(origin, type) and type(value) is origin


def _without_text_beside_enum(kind: Any) -> tuple[Any, ...]:
    """Drop ``str`` from ``SchedulerType | str``: there it only means the name of one of the choices."""
    options = members(kind)
    has_enum = any(isinstance(option, type) and issubclass(option, Enum) for option in options)
    return tuple(option for option in options if not (has_enum and option is str))


def _describe_one(kind: Any) -> str:
    origin, inner = get_origin(kind) or kind, get_args(kind)
    if origin is Literal:
        return "one of " + ", ".join(repr(choice) for choice in inner)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "one of " + ", ".join(repr(choice.value) for choice in kind)
    if origin in (list, tuple, Sequence):
        return f"a list of {_PLURAL.get(inner[0], describe(inner[0]))}" if inner and inner[0] is not Any else "a list"
    if origin in (dict, Mapping):
        return "a mapping"
    return _SINGULAR.get(kind, getattr(kind, "__name__", str(kind)))


def _mismatch(value: Any, kind: Any) -> MismatchError:
    shown = "null" if value is None else repr(value)
    hint = nearest(value, _choices(kind)) if isinstance(value, str) else ""
    if kind is str and isinstance(value, (bool, int, float)):
        hint = " Put it in quotes."
    return MismatchError(f"expected {describe(kind)}, got {shown}.{hint}")


def _choices(kind: Any) -> list[str]:
    found: list[str] = []
    for member in members(kind):
        if get_origin(member) is Literal:
            found += [choice for choice in get_args(member) if isinstance(choice, str)]
        elif isinstance(member, type) and issubclass(member, Enum):
            found += [str(choice.value) for choice in member]
    return found


_SINGULAR = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    Path: "a path",
    Any: "anything",
}
_PLURAL = {str: "text", int: "whole numbers", float: "numbers", Path: "paths"}
