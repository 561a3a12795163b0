"""Frozen dataclasses to JSON and back, checked against their type hints; an error names the key's path."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from prefopt.errors import UserError, nearest

T = TypeVar("T")


def encode(record: Any) -> str:
    """Return a dataclass as strict JSON; NaN and the infinities, which JSON has no word for, become null."""
    return json.dumps(_finite(asdict(record)), indent=1, ensure_ascii=False, allow_nan=False, default=str)


def decode(text: str, kind: type[T]) -> T:
    """Read JSON as a dataclass. Missing keys take their defaults; null for a required figure reads as NaN."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(
            f"the record is not JSON: {error.msg} in line {error.lineno}; write it with to_json()"
        ) from error
    return _build(value, kind, "record")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    # NumPy scalars would otherwise be written as strings.
    return _finite(value.item()) if hasattr(value, "item") else value


def _build(value: Any, kind: Any, path: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if value is None and NoneType in arguments:
            return None
        return _build(value, next(entry for entry in arguments if entry is not NoneType), path)
    if is_dataclass(kind):
        return _build_dataclass(value, kind, path)
    if origin is tuple:
        _expect(value, list, "a list", path)
        return tuple(_build(entry, arguments[0], f"{path}[{row}]") for row, entry in enumerate(value))
    if origin is Mapping:
        _expect(value, dict, "a mapping", path)
        return {key: _build(entry, arguments[1], f"{path}.{key}") for key, entry in value.items()}
    if kind is object:
        return value
    if kind is float:
        return math.nan if value is None else float(_number(value, path))
    if kind is int:
        number = _number(value, path)
        if number != int(number):
            raise UserError(f"{path}: expected a whole number, found {number}")
        return int(number)
    _expect(value, kind, {str: "a text", bool: "true or false"}[kind], path)
    return value


def _build_dataclass(value: Any, kind: Any, path: str) -> Any:
    _expect(value, dict, "a mapping", path)
    hints = get_type_hints(kind)
    unknown = sorted(set(value) - set(hints))
    if unknown:
        raise UserError(f"{path}: unknown key '{unknown[0]}'.{nearest(unknown[0], hints)}")
    required = [entry.name for entry in fields(kind) if entry.default is MISSING and entry.default_factory is MISSING]
    missing = [name for name in required if name not in value]
    if missing:
        raise UserError(f"{path}: the key '{missing[0]}' is missing; {kind.__name__} needs {', '.join(required)}")
    return kind(**{name: _build(entry, hints[name], f"{path}.{name}") for name, entry in value.items()})


def _number(value: Any, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UserError(f"{path}: expected a number, found {value!r}")
    return value


def _expect(value: Any, kind: type, words: str, path: str) -> None:
    if not isinstance(value, kind):
        raise UserError(f"{path}: expected {words}, found {value!r}")
