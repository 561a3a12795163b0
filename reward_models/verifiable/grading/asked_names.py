"""Which names of a test the program is asked for: decided from the trusted tests alone."""

from __future__ import annotations

import ast
import builtins
import symtable
import sys
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
# Words with which tests judge, and with which they make arguments: not what a task asks for, where a test has others.
JUDGES = frozenset(
    [
        "abs",
        "all",
        "any",
        "isclose",
        "isinstance",
        "isnan",
        "len",
        "list",
        "repr",
        "round",
        "set",
        "sorted",
        "str",
        "tuple",
        "type",
    ]
)
MAKERS = frozenset(
    [
        "bool",
        "bytes",
        "complex",
        "dict",
        "float",
        "frozenset",
        "int",
        "iter",
        "range",
        "Counter",
        "Decimal",
        "Fraction",
        "deque",
    ]
)
# Packages that no test's process has, by the names that tests give them: no program may stand in for them.
ABSENT = frozenset(["np", "numpy", "pd", "pandas", "pytest", "scipy", "sp", "sympy", "torch"])
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

    So are modules of the standard library that tests only read attributes of: no program can define ``math`` either.
    """
    asked, modules, bound = asked_for(cases, setup), _modules(cases), _bound(tree_of(setup)) | BUILTINS
    used: dict[str, list[set[str]]] = {}
    for case in cases.values():
        free = _free(case.source) - bound
        entry = {case.entry_point} if isinstance(case, CheckCase) else set()
        for name in free - entry - {asked}:
            used.setdefault(name, []).append(
                (free - modules - TOOL_MODULES.keys()) | entry | ({asked} if asked else set())
            )
    lines = [f"from {TOOL_MODULES[name]} import {name}\n" for name in sorted(used) if name in TOOL_MODULES]
    # Where a test names nothing else, it is the program's own thing of that name that is tested.
    lines += [f"import {name}\n" for name in sorted(modules & used.keys() - TOOL_MODULES.keys()) if all(used[name])]
    # A setup may begin with imports from __future__, which must stay first.
    return setup + "\n" + "".join(lines) if lines else setup


def asked_for(cases: Mapping[int, AssertCase | CheckCase], setup: str) -> str | None:
    """The one builtin or tool that the task itself is a function of, if the tests leave no choice.

    No case uses a name that is neither, and every case uses this one; of several the one that does not judge.

    Raises:
        UnreadableTestError: several are left, so that nobody knows which the program is to define.
    """
    modules = _modules(cases)
    free = [_free(case.source) - _bound(tree_of(setup)) for case in cases.values()]
    if not free or any(isinstance(case, CheckCase) for case in cases.values()):
        return None
    if any(names - BUILTINS - TOOL_MODULES.keys() - modules for names in free):
        return None
    shared = {name for name in set.intersection(*free) - modules if not _is_exception(name)}
    for less in (frozenset(), JUDGES, MAKERS):
        if len(shared) > 1:
            shared -= less
    if len(shared) != 1 and any(free) and set.intersection(*free) - modules:
        raise UnreadableTestError("the test itself: it leaves open which of the builtins that it uses is asked for")
    return next(iter(shared), None)


def names_of(cases: Mapping[int, AssertCase | CheckCase], setup: str) -> dict[int, list[str]]:
    """Return for each case the names to look up in the program.

    A builtin name means the builtin, so that no program can replace ``abs`` or ``all`` under a test's hands; unless the
    tests leave no choice: no case uses any other free name, and every case uses this one (a task that asks for a
    function ``sum``). An entry point is always the program's.

    Raises:
        UnreadableTestError: test code that is no Python.
    """
    known = {*BUILTINS, *ABSENT, *_bound(tree_of(setup))} - {asked_for(cases, setup)}
    return {
        index: sorted((_free(case.source) - known) | ({case.entry_point} if isinstance(case, CheckCase) else set()))
        for index, case in cases.items()
    }


def _free(source: str) -> set[str]:
    """Names that test code reads and nothing in it binds, in any of its scopes."""
    found: set[str] = set()
    bound: set[str] = set()
    try:
        tables = [symtable.symtable(source, "<test>", "exec")]
    except NO_PYTHON as error:
        raise UnreadableTestError(f"the test itself: {type(error).__name__}: {error}") from None
    for table in tables:
        tables += table.get_children()
        for symbol in table.get_symbols():
            if symbol.is_global() or table.get_type() == "module":
                (bound if symbol.is_assigned() or symbol.is_imported() else found).add(symbol.get_name())
    return found - bound


def _modules(cases: Mapping[int, AssertCase | CheckCase]) -> set[str]:
    """Names of the standard library's modules with which tests do nothing but read attributes."""
    nodes = [node for case in cases.values() for node in ast.walk(tree_of(case.source))]
    read = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
    names = [node for node in nodes if isinstance(node, ast.Name)]
    otherwise = {node.id for node in names if id(node) not in read}
    return {node.id for node in names if node.id in sys.stdlib_module_names} - otherwise


def _is_exception(name: str) -> bool:
    known = getattr(builtins, name, None)
    return isinstance(known, type) and issubclass(known, BaseException)


def _bound(tree: ast.Module) -> set[str]:
    """Names that the module itself binds at its top level."""
    return {name for node in tree.body for name in _binds(node)}


def _binds(node: ast.stmt) -> Sequence[str]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [node.name]
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return [(alias.asname or alias.name).partition(".")[0] for alias in node.names]
    return [one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)]
