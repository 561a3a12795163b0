"""The codec: every plain value comes back equal and of the same types; nothing else gets through."""

from __future__ import annotations

import enum
import json
import math
from collections import Counter, OrderedDict, defaultdict, namedtuple
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reward_models.verifiable.grading.comparison import parse, same_value
from reward_models.verifiable.grading.inside.codec import DEEPEST, NotPlainError, TooLargeError, decode, encode

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(1 << 300), 1 << 300),
    st.floats(allow_nan=False),
    st.complex_numbers(allow_nan=False),
    st.text(st.characters(), max_size=5),
    st.binary(max_size=5),
)
HASHABLE = SCALARS | st.lists(SCALARS, max_size=3).map(tuple) | st.frozensets(SCALARS, max_size=3)
VALUES = st.recursive(
    SCALARS | st.sets(HASHABLE, max_size=3) | st.frozensets(HASHABLE, max_size=3),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(HASHABLE, inner, max_size=3),
    ),
    max_leaves=10,
)


def typed(value: Any) -> Any:
    """The value with the types of all its parts, where equality of Python would pass over them."""
    if isinstance(value, (list, tuple)):
        return (type(value), [typed(one) for one in value])
    if isinstance(value, (set, frozenset)):
        return (type(value), sorted(repr(typed(one)) for one in value))
    if isinstance(value, dict):
        return (dict, [(typed(key), typed(one)) for key, one in value.items()])
    return (type(value), repr(value))


@settings(max_examples=100, deadline=None)
@given(VALUES)
def test_values_come_back(value: Any) -> None:
    """decode(encode(v)) is v with all types, -0.0 and infinities; its text is ASCII JSON on one line."""
    text = encode(value)
    assert typed(decode(text)) == typed(value)
    assert encode(decode(text)) == text
    assert text.isascii()
    assert "\n" not in text
    json.loads(text)


@settings(max_examples=100, deadline=None)
@given(VALUES)
def test_comparison_knows_every_value(value: Any) -> None:
    """A value's own text is the same value, compared without rebuilding it; that of [value] is not."""
    assert same_value(value, parse(encode(value)))
    assert not same_value(value, parse(encode([value])))


@settings(max_examples=100, deadline=None)
@given(VALUES, VALUES)
def test_comparison_agrees_with_types_and_equality(one: Any, other: Any) -> None:
    """Two values are the same only if their texts are, zeros' signs and the two leniencies for JSON apart."""
    if same_value(one, parse(encode(other))):
        assert typed(plain(one)) == typed(plain(other))


def plain(value: Any) -> Any:
    """The value with what is compared as equal made one: -0.0, tuples for lists, dicts' order and digits as keys."""
    if isinstance(value, float):
        return value + 0.0
    if isinstance(value, complex):
        return complex(value.real + 0.0, value.imag + 0.0)
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, (set, frozenset)):
        return (type(value).__name__, sorted(repr(plain(one)) for one in value))
    if isinstance(value, dict):
        keys = [str(key) if type(key) is int else key for key in value]
        return sorted((repr(plain(key)), repr(plain(one))) for key, one in zip(keys, value.values(), strict=True))
    return value


def test_nan_is_sent() -> None:
    """NaN has a word, and comes back as NaN."""
    assert encode([math.nan]) == '[{"x":"nan"}]'
    assert math.isnan(decode(encode(math.nan)))


class Liar(int):
    """An int that says that it is another."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0

    def __int__(self) -> int:
        return 9

    __index__ = __int__

    def __repr__(self) -> str:
        return "9"


class Colour(enum.IntEnum):
    """An enumeration of ints."""

    RED = 3


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Liar(4), "4"),
        (Colour.RED, "3"),
        (Point(1, 2), '{"t":[1,2]}'),
        (Counter("aab"), '{"d":[["a",2],["b",1]]}'),
        (OrderedDict(a=1), '{"d":[["a",1]]}'),
        (defaultdict(int, a=1), '{"d":[["a",1]]}'),
        (type("Text", (str,), {"__str__": lambda self: "b"})("a"), '"a"'),
        (type("Items", (list,), {"__iter__": lambda self: iter([5])})([1]), "[1]"),
    ],
)
def test_derived_types_are_their_base(value: Any, text: str) -> None:
    """What a class overrides has no effect: the base type's own content is written."""
    assert encode(value) == text


@pytest.mark.parametrize("value", [object(), len, int, iter([]), range(3), {1: object()}, (x for x in ()), bytearray()])
def test_objects_are_not_plain(value: Any) -> None:
    """Anything else is refused."""
    with pytest.raises(NotPlainError):
        encode(value)


def nested(depth: int) -> list[Any]:
    """A list in a list, so many."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def test_large_values_are_refused() -> None:
    """One million characters, 150 levels; endless and doubling lists end soon."""
    assert decode(encode(nested(DEEPEST))) == nested(DEEPEST)
    endless: list[Any] = []
    endless.append(endless)
    doubling: list[Any] = []
    for _ in range(64):
        doubling = [doubling, doubling]
    for value in (
        nested(DEEPEST + 1),
        nested(100_000),
        endless,
        doubling,
        "a" * 1_000_001,
        1 << 4_100_000,
        [0] * 500_001,
    ):
        with pytest.raises(TooLargeError):
            encode(value)
    assert len(decode(encode("a" * 999_000))) == 999_000


def test_objects_by_number() -> None:
    """What is not plain can be kept, and be fetched by its number."""
    thing = object()
    assert encode([1, thing], keep=lambda value: 7 if value is thing else None) == '[1,{"o":7}]'
    assert decode('[1,{"o":7}]', lambda number: (thing, number)) == [1, (thing, 7)]
