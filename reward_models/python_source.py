"""Python source as a tree, from any thread."""

from __future__ import annotations

import ast
import os
import threading

NO_PYTHON = (SyntaxError, ValueError, RecursionError, MemoryError)

_LOCK = threading.Lock()


def parse_source(source: str) -> ast.Module:
    """Parse source; nothing is run.

    One at a time: some interpreters, 3.11.7 for one, count the depth of a tree in one place for all threads, and raise
    ``SystemError: AST constructor recursion depth mismatch`` now and again (python/cpython issue 106905).

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: no Python, or nested too deep.
    """
    with _LOCK:
        return ast.parse(source)


def _unlock() -> None:
    """In a forked child no other thread is left that could release the lock."""
    global _LOCK
    _LOCK = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock)
