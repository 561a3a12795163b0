"""HumanEval's problems, and what a code model wrote for them."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Any

from reward_models.data import load_prompts
from scripts.bench.subjects import real

STOPS = re.compile(r"\n(?:class|def|#|if|print|assert)")


@dataclass(frozen=True)
class Problem:
    """A HumanEval problem as `load_prompts` gives it, with its ``check`` as source."""

    name: str
    entry_point: str
    prefix: str
    solution: str
    tests: str

    @property
    def check(self) -> str:
        """Source that defines ``check(candidate)``."""
        source: str = json.loads(self.tests)[0]["check"]
        return source


@cache
def problems() -> tuple[Problem, ...]:
    """All 164, in the order of their names as texts, which is that of the model's completions."""
    rows = load_prompts(real("humaneval/HumanEval.jsonl.gz"))
    found = [Problem(r["task_id"], r["entry_point"], r["prefix"], r["solution"], r["tests"]) for r in rows]
    return tuple(sorted(found, key=lambda problem: problem.name))


@cache
def written() -> tuple[tuple[str, ...], ...]:
    """For each problem a hundred completions of its prompt, by a model of 16B parameters."""
    return tuple(tuple(row["samples"]) for row in _rows("codet/humaneval_codegen16B_code_solution.jsonl"))


def written_asserts(problem: Problem, row: int, most: int) -> list[str]:
    """Assert statements that the model wrote for a problem, the most frequent first: whole, and about its function."""
    statements: Counter[str] = Counter()
    for sample in _rows("codet/humaneval_codegen16B_test_case.jsonl")[row]["samples"]:
        for part in f"assert {sample}".split("\nassert "):
            statement = "assert " + part.removeprefix("assert ").split("\n#")[0].strip()
            if f"{problem.entry_point}(" in statement and _whole(statement):
                statements[statement] += 1
    return [statement for statement, _ in statements.most_common(most)]


def cut(completion: str) -> str:
    """A completion up to where it leaves the function, as samples of a model without an end are usually cut."""
    found = STOPS.search(completion)
    return completion[: found.start()] + "\n" if found else completion


def _whole(statement: str) -> bool:
    import ast

    try:
        body = ast.parse(statement).body
    except (SyntaxError, ValueError):
        return False
    return len(body) == 1 and isinstance(body[0], ast.Assert)


@cache
def _rows(name: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in real(name).read_text(encoding="utf-8").split("\n") if line]
    for row, problem in zip(found, problems(), strict=True):
        assert f"def {problem.entry_point}(" in row["prompt"], f"{name} is in another order than HumanEval"
    return found
