"""Tests of programs as data sets publish them, as the list of dicts that `UnitTests` reads.

Nothing is unpickled and nothing is run: tests are JSON, or source text that is taken apart as text.
"""

from __future__ import annotations

import ast
import base64
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from reward_models.data.faults import RowFault
from reward_models.data.fields import kind_of
from reward_models.python_source import NO_PYTHON, parse_source

Test = dict[str, Any]


def dump(tests: Sequence[Test]) -> str:
    """JSON text, for a column of a table has one type and tests are of several kinds."""
    return json.dumps(tests)


def inputs_and_outputs(value: Mapping[str, Any], field: str) -> list[Test]:
    """``inputs`` and ``outputs`` side by side; with ``fn_name`` they are arguments and results of that function.

    A text may be given as its lines. Sources wrap results in a list of one as often as not, so where every result of a
    row is such a list it is taken for a wrapping.
    """
    inputs, outputs = (value.get(name) for name in ("inputs", "outputs"))
    if not isinstance(inputs, list) or not isinstance(outputs, list):
        raise RowFault("wrong_type", field, "expected lists `inputs` and `outputs`")
    if len(inputs) != len(outputs):
        raise RowFault("wrong_type", field, f"{len(inputs)} inputs for {len(outputs)} outputs")
    name = value.get("fn_name")
    if name is None:
        return [stdin_test(read, wanted, field) for read, wanted in zip(inputs, outputs, strict=True)]
    if all(isinstance(args, str) for args in inputs):
        return [lines_test(name, args, wanted, field) for args, wanted in zip(inputs, outputs, strict=True)]
    wrapped = all(isinstance(wanted, list) and len(wanted) == 1 for wanted in outputs)
    return [
        call_test(name, args, wanted[0] if wrapped else wanted, field)
        for args, wanted in zip(inputs, outputs, strict=True)
    ]


def stdin_test(read: Any, wanted: Any, field: str) -> Test:
    """One input and its output."""
    return {"input": _text(read, field), "output": _text(wanted, field)}


def call_test(name: Any, args: Any, expected: Any, field: str) -> Test:
    """One call and its result."""
    if not isinstance(name, str) or not isinstance(args, list):
        raise RowFault("wrong_type", field, "a test of a function needs its name and a list of arguments")
    return {"function": name, "args": args, "expected": expected}


def lines_test(name: Any, args: str, expected: Any, field: str) -> Test:
    """One call whose arguments are lines of JSON, as its result is one."""
    lines = [_json(line, field) for line in args.split("\n") if line.strip()]
    return call_test(name, lines, _json(expected, field) if isinstance(expected, str) else expected, field)


def assertions(lines: Any, field: str, setup: str = "") -> list[Test]:
    """Assert statements, each with the code that must run before."""
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise RowFault("wrong_type", field, "expected a list of assert statements")
    return [{"assert": f"{setup}\n{line}" if setup.strip() else line} for line in lines]


def pytest_functions(source: str, field: str) -> list[Test]:
    """Each ``test_`` function becomes a test: what stands beside the functions, the function, and its call.

    Imports from ``solution`` fall away, for the program's functions are found by their names.
    """
    try:
        body = parse_source(source).body
    except NO_PYTHON as error:
        raise RowFault("wrong_type", field, f"expected Python source: {error}") from None
    tests = [one for one in body if isinstance(one, ast.FunctionDef) and one.name.startswith("test")]
    shared = [one for one in body if one not in tests and not _imports(one, "solution")]
    for one in [*body]:
        if _imports(one, "pytest") or (isinstance(one, ast.ClassDef) and one.name.startswith("Test")):
            raise RowFault("unsupported_tests", field, "needs pytest, which is not there where programs run")
        if one in tests and (_takes_arguments(one) or getattr(one, "decorator_list", [])):
            raise RowFault("unsupported_tests", field, f"{getattr(one, 'name', '')} has arguments or decorators")
    if not tests:
        raise RowFault("unsupported_tests", field, "there is no function whose name begins with test")
    return [
        {"assert": "\n\n".join([*(ast.unparse(part) for part in (*shared, test)), f"{test.name}()"])} for test in tests
    ]


def truth_tests(truth: Any, field: str) -> list[Test] | None:
    """The tests that a ground truth holds, or None where it is an answer.

    Known are ``{"inputs", "outputs"}``, assert statements, ``{"functional": source}``, and lists of
    ``{"input", "output"}`` with ``testtype`` and ``metadata.func_name`` where functions are called.
    """
    value = _loaded(truth)
    if isinstance(value, Mapping) and "inputs" in value and "outputs" in value:
        return inputs_and_outputs(value, field)
    if isinstance(value, Mapping) and isinstance(value.get("functional"), str):
        return [{"assert": value["functional"]}]
    if not isinstance(value, list) or not value:
        return None
    if all(isinstance(one, str) and one.lstrip().startswith("assert") for one in value):
        return assertions(value, field)
    if all(isinstance(one, Mapping) and "input" in one and "output" in one for one in value):
        return [_typed_test(one, field) for one in value]
    return None


def listed_tests(value: Any, field: str, function: str | None = None) -> list[Test]:
    """JSON text, or a list, of ``{"input", "output", "testtype"}``; pickled ones are refused, never opened."""
    loaded = _loaded(value)
    if not isinstance(loaded, list) or not all(isinstance(one, Mapping) for one in loaded):
        raise RowFault(
            "unsupported_tests", field, "no JSON; pickled or compressed tests are never opened, publish them as JSON"
        )
    return [_typed_test(one, field, function) for one in loaded]


def is_packed(value: Any) -> bool:
    """Whether tests are a pickle or a compressed file, bare or in base 64; none is opened to find out."""
    begin = value if isinstance(value, bytes) else b""
    if isinstance(value, str) and len(value) >= 16 and not re.search(r"[^A-Za-z0-9+/=\s]", value):
        try:
            begin = base64.b64decode(value[:16])
        except ValueError:
            return False
    return begin.startswith((b"\x80", b"\x78\x01", b"\x78\x9c", b"\x78\xda", b"\x1f\x8b"))


def _typed_test(test: Mapping[str, Any], field: str, function: str | None = None) -> Test:
    if test.get("testtype") != "functional":
        return stdin_test(test.get("input"), test.get("output"), field)
    metadata = test.get("metadata")
    name = metadata.get("func_name") if isinstance(metadata, Mapping) else function
    read = test.get("input")
    if not isinstance(read, str):
        raise RowFault("wrong_type", field, f"arguments are lines of JSON, found {kind_of(read)}")
    return lines_test(name, read, test.get("output"), field)


def _json(text: Any, field: str) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        raise RowFault("wrong_type", field, "arguments and result of a function are lines of JSON") from None


def _loaded(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def _text(value: Any, field: str) -> str:
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    if not isinstance(value, str):
        raise RowFault("wrong_type", field, f"inputs and outputs are text, found {kind_of(value)}")
    return value


def _imports(statement: ast.stmt, module: str) -> bool:
    if isinstance(statement, ast.ImportFrom):
        return statement.module == module
    return isinstance(statement, ast.Import) and any(alias.name == module for alias in statement.names)


def _takes_arguments(function: ast.stmt) -> bool:
    given = getattr(function, "args", None)
    return given is not None and bool(
        given.posonlyargs or given.args or given.kwonlyargs or given.vararg or given.kwarg
    )
