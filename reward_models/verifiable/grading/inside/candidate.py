"""Run a model's program, find what it defines, and say what it raised."""

from __future__ import annotations

import builtins
import sys
from typing import Any

from reward_models.verifiable.grading.inside.codec import NotPlainError, TooLargeError, encode

LONGEST_MESSAGE = 300


def load(code: str, name: str) -> dict[str, Any]:
    """Run a program as a module of that name and return its globals."""
    vars(builtins).update(exit=leave, quit=leave)
    module = type(sys)(name)
    sys.modules[name] = module
    exec(compile(code, f"<{name}>", "exec", dont_inherit=True), module.__dict__)
    return module.__dict__


def leave(code: Any = None) -> None:
    """Do what ``exit`` does, which an interpreter without site-packages lacks."""
    raise SystemExit(code)


def find(names: dict[str, Any], path: str) -> Any:
    """Return a global, or the method of a new object for ``Class.method`` and for methods of ``Solution``."""
    if path in names:
        return names[path]
    owner, _, method = path.rpartition(".")
    owner = owner or "Solution"
    if owner not in names:
        raise NameError(f"name '{path}' is not defined")
    return getattr(names[owner](), method)


def message(error: BaseException) -> str:
    """Return what an exception says, whatever its ``__str__`` does."""
    try:
        return str.__str__(str(error))[:LONGEST_MESSAGE]
    except BaseException:
        return ""


def raised(error: BaseException) -> str:
    """Return ``kind, name, message`` of an exception as the inside of a JSON list."""
    kind = "foreign" if type(error) is NotPlainError else "large" if type(error) is TooLargeError else "raised"
    return f'"{kind}",{encode(str.__str__(type(error).__name__))},{encode(message(error))}'
