"""The text of a program that runs inside: its module and those of ``inside`` that it imports, joined."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

from reward_models.python_source import parse_source

INSIDE = "reward_models.verifiable.grading.inside"
FOLDER = Path(__file__).parent / "inside"
# Imported for annotations alone, which do not run; their import would take longer than all the rest.
ANNOTATIONS_ONLY = {"__future__", "typing", "collections.abc"}


@cache
def program(name: str) -> str:
    """Return the text of ``inside/NAME.py`` without imports of this package, annotations and docstrings."""
    return "\n".join(ast.unparse(ast.fix_missing_locations(tree)) for tree in _parts(name, set()))


def _parts(name: str, seen: set[str]) -> list[ast.Module]:
    seen.add(name)
    tree = parse_source((FOLDER / f"{name}.py").read_text(encoding="utf-8"))
    parts: list[ast.Module] = []
    body = []
    for node in tree.body:
        module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
        if module.startswith(f"{INSIDE}."):
            other = module.removeprefix(f"{INSIDE}.")
            parts += _parts(other, seen) if other not in seen else []
        elif module not in ANNOTATIONS_ONLY:
            body.append(node)
    return [*parts, _Bare().visit(ast.Module(body, []))]


class _Bare(ast.NodeTransformer):
    """Leaves out what costs time to compile and does nothing."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        node.returns = None
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        return ast.Assign([node.target], node.value, lineno=node.lineno) if node.value else None

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if isinstance(node.value, ast.Constant) else node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node
