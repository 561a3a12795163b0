"""Plain values as JSON text and back: the only language between a program, its tests and the grader.

None, bool, int, float, str and list are themselves; what JSON has no word for is an object with one key:
``{"t": [...]}`` tuple, ``s`` set, ``f`` frozenset, ``d`` dict as a list of pairs, ``b`` bytes in hexadecimal, ``c``
complex as two floats, ``x`` a float that is not finite, ``n`` an int of more than 60 bits in hexadecimal, ``o`` the
number of an object that stays where it is. An object of a class derived from one of these types is written as that
type, by the type's own methods, so that what a program overrides has no effect: ``__eq__``, ``__iter__`` or
``__reduce__`` of a program's class are never called.
"""

from __future__ import annotations

from _json import encode_basestring_ascii, make_scanner
from collections.abc import Callable
from typing import Any

DEEPEST = 150
LARGEST = 1_000_000
SMALL = 1 << 60
TYPES = (bool, int, float, str, list, tuple, dict, set, frozenset, bytes, complex)


class NotPlainError(TypeError):
    """A value that the codec has no word for."""


class TooLargeError(ValueError):
    """A value of about ``LARGEST`` characters or more, or nested more than ``DEEPEST`` deep, endless ones included."""


def encode(value: Any, largest: int = LARGEST, keep: Callable[[Any], int | None] | None = None) -> str:
    """Return the text of a value. ``keep`` gives an object that is not plain its number, or None."""
    left = largest

    def spend(size: int) -> None:
        nonlocal left
        left -= size + 1
        if left < 0:
            raise TooLargeError(f"more than {largest} characters")

    def several(items: Any, level: int) -> str:
        return "[" + ",".join([write(item, level + 1) for item in items]) + "]"

    def write(value: Any, level: int) -> str:
        if level > DEEPEST:
            raise TooLargeError(f"nested more than {DEEPEST} deep")
        kind = type(value)
        if kind not in TYPES:
            kind = next((base for base in TYPES if base in kind.__mro__), kind)
        if value is None or kind is bool:
            spend(1)
            return "null" if value is None else "true" if value else "false"
        if kind is int:
            value = int.__int__(value)
            spend(1 + value.bit_length() // 4)
            return int.__repr__(value) if -SMALL < value < SMALL else f'{{"n":"{value:x}"}}'
        if kind is float:
            spend(8)
            word = float.__repr__(value)
            return f'{{"x":"{word}"}}' if word in ("nan", "inf", "-inf") else word
        if kind is str:
            spend(str.__len__(value))
            return encode_basestring_ascii(value)
        if kind is list:
            spend(3)
            return several(list.__iter__(value), level)
        if kind is tuple:
            spend(3)
            return f'{{"t":{several(tuple.__iter__(value), level)}}}'
        if kind is dict:
            spend(3)
            pairs = [f"[{write(key, level + 1)},{write(item, level + 1)}]" for key, item in dict.items(value)]
            return f'{{"d":[{",".join(pairs)}]}}'
        if kind is set or kind is frozenset:
            spend(3)
            words = sorted([write(item, level + 1) for item in kind.__iter__(value)])
            return f'{{"{"s" if kind is set else "f"}":[{",".join(words)}]}}'
        if kind is bytes:
            spend(2 * bytes.__len__(value))
            return f'{{"b":"{bytes.hex(value)}"}}'
        if kind is complex:
            value = complex.__complex__(value)
            return f'{{"c":[{write(value.real, level)},{write(value.imag, level)}]}}'
        number = keep(value) if keep else None
        if number is None:
            raise NotPlainError(f"{kind.__module__}.{kind.__qualname__} is not plain data")
        return f'{{"o":{number}}}'

    text = write(value, 0)
    if len(text) > 2 * largest:
        raise TooLargeError(f"more than {2 * largest} characters")
    return text


def decode(text: str, fetch: Callable[[int], Any] | None = None) -> Any:
    """Return the value of a text that ``encode`` wrote. ``fetch`` gives the object of a number."""

    def untag(tagged: dict[str, Any]) -> Any:
        ((tag, content),) = tagged.items()
        if tag == "o" and fetch is not None:
            return fetch(content)
        return UNTAG[tag](content)

    class Context:
        strict = True
        object_hook = staticmethod(untag)
        object_pairs_hook = None
        parse_float = float
        parse_int = int
        parse_constant = None

    value, end = make_scanner(Context)(text, 0)  # type: ignore[arg-type]
    if end != len(text):
        raise ValueError(f"something follows the value at {end}")
    return value


UNTAG: dict[str, Callable[[Any], Any]] = {
    "t": tuple,
    "s": set,
    "f": frozenset,
    "d": dict,
    "b": bytes.fromhex,
    "c": lambda parts: complex(*parts),
    "x": float,
    "n": lambda digits: int(digits, 16),
}
