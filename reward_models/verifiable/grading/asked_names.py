"""Which names of a test the program is asked for: decided from the trusted tests alone."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Mapping, Sequence

from reward_models.python_source import NO_PYTHON, parse_source
from reward_models.verifiable.grading.cases import AssertCase, CheckCase

BUILTINS = frozenset(dir(builtins))
# What tests use without importing it, since in one process with the program its imports would serve.
TOOLS = {
    "collections": "Counter OrderedDict defaultdict deque namedtuple",
    "copy": "copy deepcopy",
    "datetime": "date datetime timedelta",
    "decimal": "Decimal",
    "fractions": "Fraction",
    "math": "ceil exp fabs floor inf isclose isnan log nan pi sqrt",
    "typing": "Any Dict List Optional Set Tuple Union",
}
TOOL_MODULES = {name: module for module, names in TOOLS.items() for name in names.split()}


class UnreadableTestError(ValueError):
    """Test code that is no Python, or defines no ``check``."""


def tree_of(source: str) -> ast.Module:
    """Parse test code."""
    try:
        return parse_source(source)
    except NO_PYTHON as error:
        raise UnreadableTestError(f"the test itself: {type(error).__name__}: {error}") from None


def require(case: AssertCase | CheckCase) -> None:
    """Refuse what cannot be run as a test.

    Raises:
        UnreadableTestError: with the reason.
    """
    tree = tree_of(case.source)
    if isinstance(case, CheckCase) and "check" not in _bound(tree):
        raise UnreadableTestError("the test itself: it defines no check(candidate)")


def without_stubs(setup: str) -> str:
    """Return a setup without functions whose body is but a docstring, ``pass`` or ``...``, and classes of such alone.

    The program defines those. A setup that ends with a function's first line, as prompts do, is completed before.
    """
    for ending in ("", "\n    pass\n", "\n        pass\n"):
        try:
            tree = tree_of(setup + ending)
            break
        except UnreadableTestError:
            continue
    else:
        tree = tree_of(setup)
    kept = [node for node in tree.body if not _is_stub(node)]
    return setup if kept == tree.body else ast.unparse(ast.Module(kept, []))


def _is_stub(node: ast.stmt) -> bool:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return all(map(_does_nothing, node.body))
    if isinstance(node, ast.ClassDef):
        methods = [one for one in node.body if not _does_nothing(one)]
        return bool(methods) and all(map(_is_stub, methods))
    return False


def _does_nothing(node: ast.stmt) -> bool:
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def with_tools(cases: Mapping[int, AssertCase | CheckCase], setup: str) -> str:
    """Return a setup that also imports the ``TOOLS`` that tests use: no program can define ``isclose`` for them.

    A name that every case uses, where none uses a name that is no tool, is the task's function and not a tool.
    """
    free: list[set[str]] = [_free(tree_of(case.source)) - BUILTINS - _bound(tree_of(setup)) for case in cases.values()]
    tools = {name for names in free for name in names & TOOL_MODULES.keys()}
    if free and not any(names - TOOL_MODULES.keys() for names in free):
        tools -= free[0].intersection(*free)
    tools -= {case.entry_point for case in cases.values() if isinstance(case, CheckCase)}
    lines = [f"from {TOOL_MODULES[name]} import {name}\n" for name in sorted(tools)]
    # A setup may begin with imports from __future__, which must stay first.
    return setup + "\n" + "".join(lines) if lines else setup


def names_of(cases: Mapping[int, AssertCase | CheckCase], setup: str) -> dict[int, list[str]]:
    """Return for each case the names to look up in the program.

    A builtin name means the builtin, so that no program can replace ``abs`` or ``all`` under a test's hands; unless the
    tests leave no choice: no case uses any other free name, and every case uses this one (a task that asks for a
    function ``sum``). An entry point is always the program's.

    Raises:
        UnreadableTestError: test code that is no Python.
    """
    free = {index: _free(tree_of(case.source)) for index, case in cases.items()}
    trusted = _bound(tree_of(setup))
    wanted = {index: names - BUILTINS - trusted for index, names in free.items()}
    shadowing: set[str] = set()
    if not any(wanted.values()) and not any(isinstance(case, CheckCase) for case in cases.values()):
        shadowing = set.intersection(*free.values()) & BUILTINS if free else set()
    return {
        index: sorted(wanted[index] | shadowing | ({case.entry_point} if isinstance(case, CheckCase) else set()))
        for index, case in cases.items()
    }


def _free(tree: ast.Module) -> set[str]:
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    return used - _bound(tree)


def _bound(tree: ast.Module) -> set[str]:
    """Names that the module itself binds at its top level."""
    return {name for node in tree.body for name in _binds(node)}


def _binds(node: ast.stmt) -> Sequence[str]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [node.name]
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return [(alias.asname or alias.name).partition(".")[0] for alias in node.names]
    return [one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)]
