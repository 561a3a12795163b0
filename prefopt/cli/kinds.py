"""What the type of a dataclass field means on the command line, and its name in plain words."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

SINGULAR = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    Path: "a path",
    Any: "anything",
}
PLURAL = {str: "text", int: "whole numbers", float: "numbers", Path: "paths"}


def members(kind: Any) -> tuple[Any, ...]:
    """Return the alternatives of a union, or the type alone: ``float | None`` gives ``(float, NoneType)``.

    ``SchedulerType | str`` counts as the enumeration alone: the text only means the name of a choice.
    """
    options = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    return tuple(option for option in options if not (option is str and any(map(is_enum, options))))


def base(kind: Any) -> Any:
    """Return the bare type: ``dict`` for ``dict[str, Any]``, ``Literal`` for ``Literal["a"]``."""
    return get_origin(kind) or kind


def is_enum(kind: Any) -> bool:
    """Whether one member of a type is an enumeration."""
    return isinstance(kind, type) and issubclass(kind, Enum)


def is_boolean(kind: Any) -> bool:
    """Whether the field is a switch: ``bool`` or ``bool | None``."""
    return bool in members(kind) and set(members(kind)) <= {bool, type(None)}


def is_mapping(kind: Any) -> bool:
    """Whether one member of a type is a mapping."""
    return base(kind) in (dict, Mapping)


def is_sequence(kind: Any) -> bool:
    """Whether one member of a type holds several values."""
    return base(kind) in (list, tuple, Sequence)


def sequence(kind: Any) -> Any | None:
    """Return the member of a type that takes several words on the command line, or None."""
    return next(filter(is_sequence, members(kind)), None)


def element(kind: Any) -> Any:
    """Return the type of the values in a list or a mapping."""
    inner = get_args(kind)
    return Any if not inner else inner[1] if is_mapping(kind) else inner[0]


def choices(kind: Any) -> list[Any]:
    """Return the values that a ``Literal`` or an enumeration among the members allows."""
    found: list[Any] = []
    for member in members(kind):
        if base(member) is Literal:
            found += get_args(member)
        elif is_enum(member):
            found += [choice.value for choice in member]
    return found


def describe(kind: Any) -> str:
    """Return the name of a type in plain words: ``float | None`` is 'a number or null'."""
    words = [_describe_member(member) for member in members(kind) if member is not type(None)]
    return " or ".join(dict.fromkeys(words + ["null"] * (type(None) in members(kind))))


def _describe_member(kind: Any) -> str:
    if choices(kind):
        return "one of " + ", ".join(map(repr, choices(kind)))
    if is_sequence(kind):
        inner = element(kind)
        plural = "mappings" if is_mapping(inner) else PLURAL.get(inner, describe(inner))
        return "a list" if inner is Any else f"a list of {plural}"
    if is_mapping(kind):
        return "a mapping"
    return SINGULAR.get(kind, getattr(kind, "__name__", str(kind)))
