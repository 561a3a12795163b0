"""`MathAnswer` beside the labels of 5,276 model-written solutions of GSM8K."""

from __future__ import annotations

import json
import time
from typing import Any

from reward_models.verifiable import ExactAnswer, MathAnswer
from scripts.bench.subjects import real


def measure() -> dict[str, Any]:
    """Each solution against the reference of its question; the reference ends with ``A: 18``."""
    text = real("gsm8k/example_model_solutions.jsonl").read_text(encoding="utf-8")
    rows = [
        (solution["solution"], row["ground_truth"], solution["is_correct"], f"question {number}, {model}")
        for number, row in enumerate((json.loads(line) for line in text.split("\n") if line), start=1)
        for model, solution in row.items()
        if isinstance(solution, dict)
    ]
    completions, answers = [row[0] for row in rows], [row[1] for row in rows]
    start = time.perf_counter()
    verdicts = MathAnswer().judge(completions, answers)
    seconds = time.perf_counter() - start
    exact = ExactAnswer()(completions, completions, [answer.rpartition("A: ")[2] for answer in answers])
    differing = [
        {"where": where, "label": label, "score": verdict.score, "reason": verdict.reason, "ends": completion[-100:]}
        for (completion, _, label, where), verdict in zip(rows, verdicts, strict=True)
        if verdict.score != float(label)
    ]
    return {
        "solutions": len(rows),
        "agree": len(rows) - len(differing),
        "disagreements": differing,
        "unscored": sum(verdict.score is None for verdict in verdicts),
        "exact_answer_agrees": sum(score == float(row[2]) for score, row in zip(exact, rows, strict=True)),
        "seconds": seconds,
    }
