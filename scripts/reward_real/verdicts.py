"""What two evaluations say of published verdicts on GSM8K: four models, 1,319 questions, a solution each.

*Flips*: from one model to another of the four. *Several runs*: the two models of 6B as if they were two runs of one
policy, and the two of 175B; they are not (one of each is chosen by a verifier among 100 samples), so that the deviation
from run to run stands for how far two systems of one size disagree. Models are not run; the verdicts are the data's.
"""

from __future__ import annotations

import json
from typing import Any

from prefopt import recipes
from scripts.bench.subjects import real
from scripts.reward_real.hybrid import MODELS

CHANGES = (
    ("6b_finetuning", "6b_verification"),
    ("6b_verification", "175b_finetuning"),
    ("175b_finetuning", "175b_verification"),
)


def measure() -> dict[str, Any]:
    """Read the verdicts, compare."""
    lines = real("gsm8k/example_model_solutions.jsonl").read_text(encoding="utf-8").split("\n")
    rows = [json.loads(line) for line in lines if line]
    right = {name: [bool(row[name]["is_correct"]) for row in rows] for name in MODELS}
    report = recipes.build("flip_report")
    table: list[dict[str, Any]] = []
    notes = []
    for before, after in CHANGES:
        found = report(right[before], right[after])
        rise = (len(found.mended) - len(found.broke)) / found.judged
        detail = f"{len(found.mended)} mended, {len(found.broke)} broke, p = {found.p_value:.1g}"
        table.append(
            {"what": f"{before} to {after}: mean rises by", "share": rise, "low": "", "high": "", "of it": detail}
        )
        if rise > 0:
            lost = len(found.broke) / sum(right[before])
            notes.append(f"{before} to {after}: {100 * lost:.0f} % of what was right before is wrong after.")
    runs = recipes.build("eval_statistics", ks=(1, 2))
    for size in ("6b", "175b"):
        pair = [name for name in MODELS if name.startswith(size)]
        seen = runs(list(zip(*(right[name] for name in pair), strict=True)))
        for name, part in (("any of two", seen.pass_at[2]), ("one", seen.pass_at[1]), ("both", seen.pass_all[2])):
            table.append(
                {"what": f"{size}: {name} right", "share": part.value, "low": part.low, "high": part.high, "of it": ""}
            )
        notes.append(
            f"{size}: the score of one run of all questions deviates by {100 * seen.run_deviation:.2f} points."
        )
    return {"seeds": [0], "table": table, "notes": notes}
