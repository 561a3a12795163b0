"""Comparison: strict types, tolerance where asked for, lines and their number."""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reward_models.verifiable.grading import CallCase
from reward_models.verifiable.grading.blackbox_calls import ForgeryError, answer_of, judge
from reward_models.verifiable.grading.comparison import MalformedError, parse, same_value, too_deep
from reward_models.verifiable.grading.inside.codec import encode
from reward_models.verifiable.grading.output_comparison import same_output


def same(expected: Any, answer: Any, tolerance: float | None = None) -> bool:
    """Whether a program's value is the expected one."""
    return same_value(expected, parse(encode(answer)), tolerance)


@pytest.mark.parametrize(
    ("expected", "answer", "right"),
    [
        (1, True, False),
        (True, 1, False),
        (3, 3.0, False),
        (3.0, 3, False),
        (3, "3", False),
        (0, False, False),
        (0, None, False),
        (None, None, True),
        (0.0, -0.0, True),
        (0, -0.0, False),
        (float("nan"), float("nan"), False),
        (float("inf"), float("inf"), True),
        (0.3, 0.1 + 0.2, False),
        (1 << 100, 1 << 100, True),
        (1 << 100, float(1 << 100), False),
        ("é", "é", True),
        ("\ud800", "\ud800", True),
        ("a", "\ud800", False),
        ([1, 2], (1, 2), True),
        ((1, 2), [1, 2], False),
        ([1, (2, [3])], (1, (2, (3,))), True),
        ([[1, 2]], [[1, 2, 3]], False),
        ([], (), True),
        ([], {}, False),
        ({}, [], False),
        ({1, 2}, {2, 1}, True),
        ({1, 2}, frozenset({1, 2}), False),
        ({1, 2}, [1, 2], False),
        ([1, 2], {1, 2}, False),
        ({1}, {True}, False),
        ({(1, 2)}, {(1, 2)}, True),
        ({(1, 2)}, {(1, 2.0)}, False),
        ({frozenset({1})}, {frozenset({1})}, True),
        ({frozenset({1})}, {frozenset({2})}, False),
        ({frozenset({1})}, {frozenset({True})}, False),
        ({frozenset({0.0})}, {frozenset({-0.0})}, True),
        ({frozenset({-0j, 1})}, {frozenset({0j, 1})}, True),
        ({frozenset({float("nan")})}, {frozenset({float("nan")})}, False),
        ({(1, frozenset({"a", ("b",)}))}, {(1, frozenset({("b",), "a"}))}, True),
        ({(1, frozenset({"a", ("b",)}))}, {(1, frozenset({("a",), "b"}))}, False),
        ({("a", "b")}, {("a1:b",)}, False),
        ({None, "None", b"a", "a"}, {None, "None", b"a", "a"}, True),
        ({"x": 1, "None": 2}, {"x": 1, None: 2}, False),
        ({frozenset({1 << 20_000})}, {frozenset({1 << 20_000})}, True),
        ({"a": 1}, {"a": 1}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"1": "a"}, {1: "a"}, True),
        ({"1": "a"}, {True: "a"}, False),
        ({"1": "a", "2": "b"}, {1: "a", "1": "a"}, False),
        ({1: "a"}, {"1": "a"}, False),
        ({1: "a"}, {1: "a"}, True),
        ({1: "a"}, {1.0: "a"}, False),
        (b"a", b"a", True),
        (b"a", "a", False),
        (1j, 1j, True),
        (1j, 1, False),
    ],
)
def test_values(expected: Any, answer: Any, right: bool) -> None:
    """Types count; what JSON cannot hold, tuples and int keys, is taken as the data sets mean it."""
    assert same(expected, answer) is right


@pytest.mark.parametrize(
    ("expected", "answer", "right"),
    [
        (0.3, 0.1 + 0.2, True),
        (3, 3.0, True),
        (1000.0, 1000.9e-3, False),
        (1000.0, 1000.0009, True),  # 0.0009 <= 1e-6 * 1000.0009
        (1000.0, 1000.002, False),
        (0.0, 1e-7, True),
        (0.0, 2e-6, False),
        (1, True, False),
        ([1.0, {"a": 2.0}], [1.0000001, {"a": 2}], True),
        (float("nan"), float("nan"), False),
        (1 << 2000, 1.0, False),
        (1.0, 1 << 2000, False),
    ],
)
def test_tolerance(expected: Any, answer: Any, right: bool) -> None:
    """With tolerance 1e-6, ints and floats are numbers alike, and may differ by 1e-6, absolute or relative."""
    assert same(expected, answer, 1e-6) is right


@pytest.mark.parametrize(
    ("expected", "printed", "right"),
    [
        ("1\n2\n", "1\n2", True),
        ("1\n2", "1  \n2\t\n\n\n", True),
        ("1\r\n2\r\n", "1\n2\n", True),
        ("1\n2\n3", "1\n2", False),
        ("1\n2", "1\n2\n3", False),
        ("1\n\n2", "1\n2", False),
        ("1", "\n1", False),
        ("1", " 1", False),
        ("a b", "a  b", False),
        ("", "", True),
        ("", "\n\n", True),
        ("", "x", False),
        ("x", "", False),
        ("0.5", "0.50", False),
    ],
)
def test_output(expected: str, printed: str, right: bool) -> None:
    """Ends of lines and of the text don't count; everything else does, the number of lines too."""
    assert same_output(expected, printed) is right


def test_output_with_tolerance() -> None:
    """Words that are numbers may differ by 1e-3; other words may not, and all must be there."""
    assert same_output("x 0.5\n1000", "x 0.5004\n1000.9", 1e-3)
    assert not same_output("x 0.5", "y 0.5", 1e-3)
    assert not same_output("0.5 1", "0.5", 1e-3)
    assert not same_output("0.5", "nan", 1e-3)
    assert not same_output("inf", "1e999", 1e-3)


def test_a_line_of_a_program_is_parsed_or_refused() -> None:
    """No text makes the parser do anything but return or raise its error, even with a boundless recursion limit."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(10_000_000)
    deep = "[" * 1_000_000, '{"a":' * 500_000, "[" * 400 + "]" * 400
    try:
        for text in (*deep, "NaN", "[1", "", "1" * 100_000, '"\x00"'):
            with pytest.raises(MalformedError):
                parse(text)
    finally:
        sys.setrecursionlimit(limit)
    assert parse('["' + "[" * 10_000 + '"]') == ["[" * 10_000]
    assert not too_deep("[[],[]]" * 10_000)


def test_forged_texts_are_no_values() -> None:
    """Objects that the codec never writes are equal to nothing."""
    forged = ('{"t":5}', '{"d":[[1]]}', '{"d":5}', '{"n":"zz"}', '{"n":5}', '{"x":"1"}', '{"s":[[]]}', '{"b":"0"}')
    for text in (*forged, "{}"):
        for expected in ((), {}, {1: 2}, 0, 1.0, {0}, b"", {()}, [5]):
            assert not same_value(expected, parse(text))
    assert not same_value({1, 2}, parse('{"s":[1,1]}'))
    assert not same_value({frozenset({1})}, parse('{"s":[{"f":[1,1]}]}'))
    assert not same_value({"a": 1, "b": 1}, parse('{"d":[["a",1],["a",1]]}'))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*"tsfdbcxno", "q"]), inner, min_size=1, max_size=2)
    ),
    max_leaves=8,
)
EXPECTED = [None, True, 0, 1 << 90, 0.5, "a", b"a", 1j, [], [1], (), {}, {1: [2]}, {"1": 2}, {(1,)}, frozenset({b""})]


@settings(max_examples=150, deadline=None)
@given(st.lists(JSON, max_size=4) | JSON, st.sampled_from(EXPECTED))
def test_no_answer_upsets_the_judge(answer: Any, expected: Any) -> None:
    """Whatever JSON a program writes is a verdict or a forgery, never another exception; nor is any other text."""
    for line in (json.dumps(answer), json.dumps(["token", "value", answer]), repr(answer)):
        with suppress(ForgeryError):
            assert judge(CallCase("f", expected=expected), answer_of(line, "token")).status in ("ok", "wrong", "error")


def test_colliding_keys_cost_no_time() -> None:
    """20,000 ints with the same hash, as keys: compared in well under a second, where a dict of them takes minutes."""
    text = '{"d":[' + ",".join(f'[{{"n":"{((1 << 61) - 1) * n:x}"}},0]' for n in range(1, 20_001)) + "]}"
    start = time.monotonic()
    assert not same_value(dict.fromkeys(range(20000), 0), parse(text))
    assert time.monotonic() - start < 2.0


def test_a_string_without_end_costs_no_time() -> None:
    """900,000 quoted quotation marks after 400 brackets: refused at once, where a pattern for strings takes days."""
    for text in ("[" * 400 + '"' + '\\"' * 900_000, "[" * 400 + '"' * 900_001, '"' + "\\" * 900_001 + "[" * 400):
        start = time.monotonic()
        with pytest.raises(MalformedError):
            parse(text)
        assert time.monotonic() - start < 2.0
    # What stands outside of strings is counted, whatever the strings hold.
    assert too_deep(r'["\\",["\"",' + "[" * 400)
    assert not too_deep(r'["\\\"' + "[" * 400 + '"]')


def test_digits_without_end_cost_no_time() -> None:
    """1,900,000 digits are no integer that the codec writes, also where the interpreter has no limit of its own."""
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    start = time.monotonic()
    try:
        with pytest.raises(MalformedError):
            parse("1" * 1_900_000)
    finally:
        sys.set_int_max_str_digits(limit)
    assert time.monotonic() - start < 2.0
    assert parse(encode((1 << 60) - 1)) == (1 << 60) - 1
    assert parse(encode(1 - (1 << 60))) == 1 - (1 << 60)


@pytest.mark.parametrize("near", ['{"t":[%d,[]]}', '{"t":[%d,{"f":[0]}]}', '{"f":[%d,{"t":[]}]}', '{"d":[[%d,0]]}'])
def test_many_near_misses_cost_no_time(near: str) -> None:
    """5,000 members that are almost the expected ones: not each of them is compared with each."""
    expected = {(n, n) for n in range(2500)} | {frozenset({n, -1}) for n in range(2500)}
    answer = parse('{"s":[' + ",".join(near % n for n in range(5000)) + "]}")
    start = time.monotonic()
    assert not same_value(expected, answer)
    assert time.monotonic() - start < 2.0
    deep: Any = frozenset({1})
    for _ in range(70):
        deep = frozenset({deep, "'"})
    assert same({deep}, {deep})
