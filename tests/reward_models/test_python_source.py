"""Source is parsed from many threads at a time."""

from __future__ import annotations

import ast
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from reward_models.python_source import NO_PYTHON, parse_source


def test_many_threads() -> None:
    """Deep and flat sources side by side, 80 in eight threads: no thread counts another's depth."""
    sources = ["x = " + "(" * depth + "1" + ")" * depth + "\n" + "y = [1, 2]\n" * 200 for depth in (1, 60)]
    with ThreadPoolExecutor(8) as pool:
        trees = list(pool.map(parse_source, sources * 40))
    assert {ast.dump(tree) for tree in trees} == {ast.dump(ast.parse(source)) for source in sources}


def test_what_is_no_python() -> None:
    """Every way of being no Python is one of the named errors."""
    for source in ("x =", "\0", "(" * 100_000, "-" * 100_000 + "1"):
        with pytest.raises(NO_PYTHON):
            parse_source(source)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_after_a_fork() -> None:
    """A child that is forked while another thread parses does not wait for that thread for ever."""
    from reward_models import python_source

    with python_source._LOCK:
        child = os.fork()
        if child == 0:
            parse_source("x = 1")
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
