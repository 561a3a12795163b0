"""The solutions of sanitised MBPP: indented by any blanks or tabs, after prompts that are indented by four blanks."""

from __future__ import annotations

import re
from typing import Any

from reward_models.data import load_prompts
from reward_models.verifiable import UnitTests
from scripts.bench.subjects import real

SECONDS = 20.0


def measure() -> dict[str, Any]:
    """All of them, each after its prompt with the indentation of its own first line."""
    rows = load_prompts(real("codet/mbpp_sanitized.jsonl"))
    prefixes = [_indented_as(row["solution"], row["prefix"]) for row in rows]
    judged = UnitTests(timeout=SECONDS).judge(rows["solution"], rows["tests"], prefixes)
    failed = {row["task_id"]: one.reason for row, one in zip(rows, judged, strict=True) if one.score != 1}
    return {"problems": len(rows), "passed": len(rows) - len(failed), "failed": failed}


def _indented_as(body: str, prompt: str) -> str:
    first = re.match(r"[ \t]*", body)
    assert first is not None
    return prompt.replace("\n    ", "\n" + first[0])
