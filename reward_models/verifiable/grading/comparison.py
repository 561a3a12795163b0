"""Whether an answer is the expected value, decided in the grader's process on the answer's text.

The answer is never rebuilt: the JSON of ``inside/codec.py`` is compared with the expected value part by part, so that
no set or dict with keys of a program's choosing (all with the same hash, say) is ever made here.

Types are strict: True is not 1, 3.0 is not 3, "3" is not 3, a set is no frozenset. Numbers of one type are compared
by value, so -0.0 is 0.0; NaN equals nothing, not even NaN. With a tolerance, ints and floats are numbers alike and may
differ by ``tolerance``, absolute or relative to the larger; bools are still no numbers.

Two things that JSON cannot hold are taken as the data sets mean them: where a list is expected a tuple is right, too
(an expected tuple takes a tuple only), and where all keys of an expected dict are strings an int key counts as its
digits.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from reward_models.verifiable.grading.inside.codec import DEEPEST

STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
BRACKETS = re.compile(r"[\[{\]}]")


class MalformedError(ValueError):
    """A text that the codec cannot have written."""


def parse(text: str) -> Any:
    """Return the JSON of a line that a program wrote. Raises ``MalformedError``; nothing else, whatever the text."""
    if too_deep(text):
        raise MalformedError("nested too deep")
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise MalformedError(str(error)[:200]) from None


def too_deep(text: str, deepest: int = 2 * DEEPEST + 10) -> bool:
    """Whether brackets nest deeper than any value that the codec writes, found without nesting anything."""
    if text.count("[") + text.count("{") <= deepest:
        return False
    depth = 0
    for bracket in BRACKETS.findall(STRINGS.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > deepest:
            return True
    return False


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def same_value(expected: Any, answer: Any, tolerance: float | None = None) -> bool:
    """Whether parsed JSON ``answer`` stands for ``expected``."""
    if expected is None or isinstance(expected, bool):
        return answer is expected
    if isinstance(expected, (int, float, complex)):
        return _same_number(expected, _number(answer), tolerance)
    if isinstance(expected, str):
        return type(answer) is str and answer == expected
    if isinstance(expected, bytes):
        return _tagged(answer, "b") == expected.hex()
    if isinstance(expected, (list, tuple)):
        items = answer if type(answer) is list and isinstance(expected, list) else _tagged(answer, "t")
        return (
            type(items) is list
            and len(items) == len(expected)
            and all(same_value(one, other, tolerance) for one, other in zip(expected, items, strict=True))
        )
    if isinstance(expected, (set, frozenset)):
        return _same_set(expected, _tagged(answer, "f" if isinstance(expected, frozenset) else "s"))
    if isinstance(expected, Mapping):
        return _same_dict(expected, _tagged(answer, "d"), tolerance)
    raise TypeError(f"a value of type {type(expected).__name__} cannot be expected")


def _tagged(answer: Any, tag: str) -> Any:
    return answer[tag] if type(answer) is dict and answer.keys() == {tag} else None


def _number(answer: Any) -> int | float | complex | None:
    if type(answer) in (int, float):
        return answer
    if isinstance(word := _tagged(answer, "x"), str) and word in ("nan", "inf", "-inf"):
        return float(word)
    if isinstance(digits := _tagged(answer, "n"), str) and re.fullmatch("-?[0-9a-f]+", digits):
        return int(digits, 16)
    if isinstance(parts := _tagged(answer, "c"), list) and len(parts) == 2:
        real, imaginary = _number(parts[0]), _number(parts[1])
        if isinstance(real, float) and isinstance(imaginary, float):
            return complex(real, imaginary)
    return None


def _same_number(expected: complex, answer: complex | None, tolerance: float | None) -> bool:
    if answer is None:
        return False
    if type(expected) is type(answer) and expected == answer:
        return True
    if tolerance is None or isinstance(expected, complex) or isinstance(answer, complex):
        return False
    return expected == answer or close(expected, answer, tolerance)


def close(expected: float, answer: float, tolerance: float) -> bool:
    """Whether two numbers differ by no more than the tolerance, absolute or relative to the larger."""
    try:
        return math.isclose(expected, answer, rel_tol=tolerance, abs_tol=tolerance)
    except OverflowError:
        return False


def _key(value: Any) -> Any:
    """A trusted value with its types, so that True, 1 and 1.0 differ: what the answer's keys are looked up by."""
    if isinstance(value, tuple):
        return ("t", *map(_key, value))
    if isinstance(value, frozenset):
        return ("f", frozenset(map(_key, value)))
    return (type(value).__name__, value)


def _answer_key(answer: Any) -> Any:
    """The same of an answer; None where it has no hashable value, or holds a set, which isn't built here."""
    if answer is None or type(answer) in (bool, int, float, str):
        return (type(answer).__name__, answer)
    if type(items := _tagged(answer, "t")) is list:
        keys = [_answer_key(item) for item in items]
        return None if None in keys else ("t", *keys)
    if type(digits := _tagged(answer, "b")) is str and re.fullmatch("(?:[0-9a-f]{2})*", digits):
        return ("bytes", bytes.fromhex(digits))
    number = _number(answer)
    return None if number is None else (type(number).__name__, number)


def _find(answer: Any, table: Mapping[Any, Any]) -> Any:
    """The expected value that an answer's key stands for, wrapped in a tuple; None if there is none."""
    key = _answer_key(answer)
    if key is not None:
        return (table[key],) if key in table else None
    matches: Iterable[Any] = (one for one in table.values() if isinstance(one, (tuple, frozenset)))
    return next(((one,) for one in matches if same_value(one, answer)), None)


def _same_set(expected: set[Any] | frozenset[Any], items: Any) -> bool:
    if type(items) is not list or len(items) != len(expected):
        return False
    table = {_key(one): one for one in expected}
    found = [_find(item, table) for item in items]
    return all(found) and len({_key(one) for (one,) in found}) == len(expected)


def _same_dict(expected: Mapping[Any, Any], pairs: Any, tolerance: float | None) -> bool:
    if type(pairs) is not list or len(pairs) != len(expected):
        return False
    if not all(type(pair) is list and len(pair) == 2 for pair in pairs):
        return False
    from_json = all(isinstance(key, str) for key in expected)
    table = {_key(key): key for key in expected}
    seen = set()
    for key, answer in pairs:
        found = _find(str(key) if from_json and type(key) is int else key, table)
        if found is None or not same_value(expected[found[0]], answer, tolerance):
            return False
        seen.add(_key(found[0]))
    return len(seen) == len(expected)
