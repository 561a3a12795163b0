"""The ``tests`` column: from the list of dicts that a row holds to the cases that are graded.

============================================================ =========================================================
``{"input": text, "output": text}``                          the program reads ``input`` and must print ``output``
``{"function": name, "args": [...], "kwargs": {...},``       the call must return ``expected``; args and kwargs may be
``"expected": value}``                                       left out
``{"assert": source}``                                       the source, usually one assert statement, must not raise
``{"check": source, "entry_point": name}``                   the source defines ``check(candidate)``, which must not
                                                             raise when it is given the function of that name
============================================================ =========================================================

Each may have a ``timeout`` in seconds. Kinds may be mixed. The list may also be JSON text, as in a table whose column
must have one type. Keys with null, which tables fill in, count as absent (but for ``expected``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from reward_models.errors import DataError
from reward_models.python_source import NO_PYTHON, parse_source
from reward_models.verifiable.grading.cases import AssertCase, CallCase, Case, CheckCase, StdinCase

NO_TESTS = "no tests"


@dataclass(frozen=True)
class RowTests:
    """The cases of a row, or why there are none."""

    cases: tuple[Case, ...]
    reason: str = ""


class _Wrong(Exception):
    """What is wrong with one test."""


def read_tests(value: Any, where: str, tolerance: float | None = None) -> RowTests:
    """Read one row's tests; ``where`` names the row, ``tolerance`` is that of numbers in data tests.

    No tests, or text that is no JSON list, leave a row unscored, with a reason.

    Raises:
        DataError: a test that no kind fits: an unknown or missing key, or a value of a wrong type.
    """
    if isinstance(value, str):
        if not value.strip():
            return RowTests((), NO_TESTS)
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            return RowTests((), f"tests are no JSON: {str(error)[:100]}")
    if value is None:
        return RowTests((), NO_TESTS)
    if not isinstance(value, (list, tuple)):
        return RowTests((), f"tests are no list but {type(value).__name__}")
    cases = []
    for number, test in enumerate(value, start=1):
        try:
            cases.append(_case(test, tolerance))
        except _Wrong as wrong:
            raise DataError(f"{where}, test {number}: {wrong}") from None
    return RowTests(tuple(cases), "" if cases else NO_TESTS)


def _case(test: Any, tolerance: float | None) -> Case:
    if not isinstance(test, Mapping):
        hint = "; write {'assert': \"...\"}" if isinstance(test, str) and test.lstrip().startswith("assert") else ""
        raise _Wrong(f"expected an object with keys, found {type(test).__name__}{hint}")
    given = {key: value for key, value in test.items() if value is not None or key == "expected"}
    kind = next((name for name in KINDS if name in given), None)
    known = KINDS[kind].keys if kind else sorted({key for one in KINDS.values() for key in one.keys})
    for key in given:
        # A table whose rows are of several kinds fills in `expected`, too, where null is a value.
        if key not in (*known, "timeout") and not (key == "expected" and given[key] is None):
            close = get_close_matches(str(key), known, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            raise _Wrong(f"unknown key '{key}'.{hint} {'Its' if kind else 'Known'} keys: {', '.join(known)}, timeout")
    if kind is None:
        raise _Wrong(f"no kind of test; it needs one of the keys {', '.join(KINDS)}")
    timeout = given.get("timeout")
    if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout > 0):
        raise _Wrong(f"key 'timeout': expected seconds, found {timeout!r}")
    return KINDS[kind].build(given, None if timeout is None else float(timeout), tolerance)


def _value(test: Mapping[str, Any], key: str, types: type | tuple[type, ...], words: str) -> Any:
    if key not in test:
        raise _Wrong(f"key '{key}' is missing")
    if not isinstance(test[key], types):
        raise _Wrong(f"key '{key}': expected {words}, found {type(test[key]).__name__}")
    return test[key]


def _source(test: Mapping[str, Any], key: str) -> str:
    source: str = _value(test, key, str, "Python source")
    try:
        parse_source(source)
    except NO_PYTHON as error:
        raise _Wrong(f"key '{key}': no Python: {error}") from None
    return source


def _stdin(test: Mapping[str, Any], timeout: float | None, tolerance: float | None) -> Case:
    read = _value({"input": "", **test}, "input", str, "text")
    return StdinCase(read, _value(test, "output", str, "text"), timeout, tolerance)


def _call(test: Mapping[str, Any], timeout: float | None, tolerance: float | None) -> Case:
    filled = {"args": [], "kwargs": {}, **test}
    function = _value(test, "function", str, "a name")
    if "expected" not in test:
        raise _Wrong("key 'expected' is missing")
    args = tuple(_value(filled, "args", (list, tuple), "a list"))
    kwargs = dict(_value(filled, "kwargs", Mapping, "an object"))
    return CallCase(function, args, kwargs, test["expected"], timeout, tolerance)


def _assert(test: Mapping[str, Any], timeout: float | None, tolerance: float | None) -> Case:
    return AssertCase(_source(test, "assert"), timeout)


def _check(test: Mapping[str, Any], timeout: float | None, tolerance: float | None) -> Case:
    return CheckCase(_source(test, "check"), _value(test, "entry_point", str, "a name"), timeout)


@dataclass(frozen=True)
class _Kind:
    keys: tuple[str, ...]
    build: Callable[[Mapping[str, Any], float | None, float | None], Case]


KINDS: Mapping[str, _Kind] = {
    "check": _Kind(("check", "entry_point"), _check),
    "assert": _Kind(("assert",), _assert),
    "function": _Kind(("function", "args", "kwargs", "expected"), _call),
    "output": _Kind(("input", "output"), _stdin),
    "input": _Kind(("input", "output"), _stdin),
}
