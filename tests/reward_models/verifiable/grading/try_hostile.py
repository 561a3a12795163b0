"""``python try_hostile.py TIER`` grades the hostile and honest programs as the present user and prints JSON.

The packages around the grader import torch, which another user's interpreter may lack and the grader does not need:
empty packages stand in for them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[4]


def main(tier: str) -> None:
    """Print the programs whose verdicts are not as they should be, with their verdicts."""
    from reward_models.verifiable.grading import AssertCase, CallCase, Job, grade
    from tests.reward_models.verifiable.grading.hostile import HONEST, HOSTILE, SECRET
    from tests.reward_models.verifiable.grading.tiers import find

    pairs = [(2, 3), (SECRET // 2, SECRET // 2)]
    calls = [CallCase("add", pair, expected=sum(pair)) for pair in pairs]
    asserts = [AssertCase(f"assert add({a}, {b}) == {a + b}") for a, b in pairs]
    jobs: dict[str, Job] = {}
    wanted: dict[str, frozenset[str]] = {}
    for kind, cases in (("calls", calls), ("asserts", asserts)):
        for name, code in HONEST.items():
            jobs[f"honest {name}, {kind}"] = Job(code, cases)
            wanted[f"honest {name}, {kind}"] = frozenset({"ok"})
        for one in HOSTILE:
            jobs[f"{one.name}, {kind}"] = Job(one.code, cases, timeout=1.0)
            wanted[f"{one.name}, {kind}"] = one.black_box if kind == "calls" else one.two_process
    results = grade(list(jobs.values()), find(tier), workers=4, cache=None)
    found = {name: result.execution for name, result in zip(jobs, results, strict=True)}
    passed = {name: one.status for name, one in found.items() if one.passed and not name.startswith("honest")}
    print(json.dumps(passed | {name: one.status for name, one in found.items() if one.status not in wanted[name]}))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    for name in ("reward_models", "reward_models.verifiable"):
        package = sys.modules[name] = ModuleType(name)
        package.__path__ = [str(ROOT.joinpath(*name.split(".")))]
    main(sys.argv[1])
