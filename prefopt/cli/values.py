"""One value from a flag or a YAML file to the type that a dataclass field declares."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml

from prefopt.cli.kinds import base, choices, describe, element, is_enum, is_mapping, is_sequence, members, sequence
from prefopt.cli.yaml_file import UNREADABLE, StrictLoader
from prefopt.errors import nearest

TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


class MismatchError(ValueError):
    """The value has the wrong type. The message says what was expected and what came."""


def from_words(words: list[str], kind: Any) -> Any:
    """Convert the words that follow a flag: one, or several for a list (``--report-to tensorboard wandb``)."""
    several = sequence(kind)
    if several is None or (len(words) == 1 and (str in members(kind) or words[0].startswith("["))):
        return from_text(words[0], kind)
    items = [from_text(word, element(several)) for word in words]
    return tuple(items) if base(several) is tuple else items


def from_text(text: str, kind: Any) -> Any:
    """Convert one word of the command line. It stays text only where no other member of the type takes it."""
    options = members(kind)
    if type(None) in options and (text == "null" or (text.lower() == "none" and str not in options)):
        return None
    for option in sorted(options, key=lambda member: member is str):
        try:
            return _from_word(text, option)
        except MismatchError:
            continue
    raise _mismatch(text, kind)


def from_yaml(value: Any, kind: Any) -> Any:
    """Convert one value of a YAML file. Text is read as a number where only a number fits."""
    options = members(kind)
    if value is None and type(None) in options:
        return None
    for option in sorted(options, key=lambda member: type(value) is not base(member)):
        try:
            return _from_value(value, option)
        except MismatchError:
            if len(options) == 1:
                raise
    raise _mismatch(value, kind)


def _from_word(text: str, kind: Any) -> Any:
    if kind is bool:
        if text.lower() in TRUE + FALSE:
            return text.lower() in TRUE
        raise _mismatch(text, kind)
    if is_mapping(kind) or is_sequence(kind):
        try:
            parsed = yaml.load(text, Loader=StrictLoader)
        except (yaml.YAMLError, *UNREADABLE):
            raise _mismatch(text, kind) from None
        return _from_value(parsed, kind)
    if base(kind) is Literal:
        for choice in choices(kind):
            if str(choice).lower() == text.lower():
                return choice
    return _from_value(text, kind)


def _from_value(value: Any, kind: Any) -> Any:
    if kind in (Any, object):
        return value
    if choices(kind):
        allowed = choices(kind)
        if value is False and is_enum(kind) and "no" in allowed:  # YAML 1.1 reads a bare `no` as false
            return "no"
        if any(value == choice and type(value) is type(choice) for choice in allowed):
            return value
    elif is_mapping(kind) and isinstance(value, Mapping):
        return {key: from_yaml(item, element(kind)) for key, item in value.items()}
    elif is_sequence(kind) and isinstance(value, list):
        items = [from_yaml(item, element(kind)) for item in value]
        return tuple(items) if base(kind) is tuple else items
    elif kind in (int, float):
        return _number(value, kind)
    elif kind is Path and isinstance(value, str):
        return Path(value)
    elif kind in (str, bool, type(None)) and isinstance(value, kind):
        return value
    raise _mismatch(value, kind)


def _number(value: Any, kind: type[int] | type[float]) -> int | float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise _mismatch(value, kind)
    try:
        if kind is int and isinstance(value, str) and value.removeprefix("-").isdecimal():
            return int(value)
        number = float(value)
    except ValueError:
        raise _mismatch(value, kind) from None
    if math.isnan(number) or (kind is int and not number.is_integer()):
        raise _mismatch(value, kind)
    return value if type(value) is kind else kind(number)


def _mismatch(value: Any, kind: Any) -> MismatchError:
    shown = "null" if value is None else repr(value)
    hint = ""
    if isinstance(value, str):
        hint = nearest(value, [choice for choice in choices(kind) if isinstance(choice, str)])
    elif str in members(kind) and isinstance(value, (bool, int, float)):
        hint = " Put it in quotes."
    return MismatchError(f"expected {describe(kind)}, got {shown}.{hint}")
