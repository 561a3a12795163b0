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

BRACKETS = re.compile(r"[\[{\]}]")
# The codec writes integers of more than 60 bits in another way.
LONGEST_INTEGER = 20


class MalformedError(ValueError):
    """A text that the codec cannot have written."""


def parse(text: str) -> Any:
    """Return the JSON of a line that a program wrote. Raises ``MalformedError``; nothing else, whatever the text."""
    if too_deep(text):
        raise MalformedError("nested too deep")
    try:
        return json.loads(text, parse_constant=_no_constant, parse_int=_short_integer)
    except (ValueError, RecursionError) as error:
        raise MalformedError(str(error)[:200]) from None


def too_deep(text: str, deepest: int = 2 * DEEPEST + 10) -> bool:
    """Whether brackets nest deeper than any value that the codec writes, found without nesting anything."""
    if text.count("[") + text.count("{") <= deepest:
        return False
    depth = 0
    # Without what backslashes quote, every other part between quotation marks is a string. Steps as many as characters,
    # whatever the text: a pattern for strings would begin anew at each quotation mark of one that does not end.
    outside = "".join(text.replace("\\\\", "").replace('\\"', "").split('"')[::2])
    for bracket in BRACKETS.findall(outside):
        depth += 1 if bracket in "[{" else -1
        if depth > deepest:
            return True
    return False


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _short_integer(digits: str) -> int:
    """The interpreter's own limit may be off, and reading digits takes time quadratic in their number."""
    if len(digits) > LONGEST_INTEGER:
        raise ValueError("an integer of too many digits")
    return int(digits)


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


def _key(expected: Any) -> str:
    """A trusted value as text with its types, so that True, 1 and 1.0 differ: what answers are looked up by."""
    if isinstance(expected, tuple):
        return _joined("t", map(_key, expected))
    if isinstance(expected, frozenset):
        return _joined("f", sorted(map(_key, expected)))
    return _scalar(expected)


def _answer_key(answer: Any) -> str | None:
    """The same of an answer; None where it can be no key, or is NaN.

    No set is made of what an answer holds, and its text is looked up among trusted ones: neither equal hashes nor many
    near misses cost more than the answer's length.
    """
    if answer is None or type(answer) in (bool, str):
        return _scalar(answer)
    for tag in ("t", "f"):
        if type(items := _tagged(answer, tag)) is list:
            keys = [key for item in items if (key := _answer_key(item)) is not None]
            return _joined(tag, keys if tag == "t" else sorted(keys)) if len(keys) == len(items) else None
    if type(digits := _tagged(answer, "b")) is str:
        return f"bytes {digits}"
    number = _number(answer)
    return None if number is None or number != number else _scalar(number)


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return f"str {value}"
    if isinstance(value, bytes):
        return f"bytes {value.hex()}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"int {value:x}"
    # Adding zero makes one text of -0.0 and 0.0.
    return f"{type(value).__name__} {value + type(value)(0) if isinstance(value, (float, complex)) else value!r}"


def _joined(tag: str, keys: Iterable[str]) -> str:
    return tag + "".join(f"{len(key)}:{key}" for key in keys)


def _same_set(expected: set[Any] | frozenset[Any], items: Any) -> bool:
    if type(items) is not list or len(items) != len(expected):
        return False
    wanted = {_key(one) for one in expected}
    found = {key for key in map(_answer_key, items) if key in wanted}
    return len(found) == len(expected)


def _same_dict(expected: Mapping[Any, Any], pairs: Any, tolerance: float | None) -> bool:
    if type(pairs) is not list or len(pairs) != len(expected):
        return False
    if not all(type(pair) is list and len(pair) == 2 for pair in pairs):
        return False
    from_json = all(isinstance(key, str) for key in expected)
    wanted = {_key(key): value for key, value in expected.items()}
    seen = set()
    for key, answer in pairs:
        found = _answer_key(str(key) if from_json and type(key) is int else key)
        if found not in wanted or not same_value(wanted[found], answer, tolerance):
            return False
        seen.add(found)
    return len(seen) == len(expected)
