"""The canonical solutions of HumanEval, and the same with one token changed."""

from __future__ import annotations

import time
from typing import Any

from reward_models.errors import ModelError
from reward_models.verifiable import UnitTests
from scripts.verifiable_real.mutants import mutants
from scripts.verifiable_real.programs import problems

TIERS = ("bwrap", "landlock")
MUTANTS, SEED = 12, 0


def measure() -> dict[str, Any]:
    """All solutions in both tiers, mutants in the stronger one that is here."""
    tiers = {tier: _solutions(tier) for tier in TIERS}
    working = next(tier for tier in TIERS if "passed" in tiers[tier])
    return {"problems": len(problems()), "tiers": tiers, "mutants": _mutants(working)}


def _solutions(tier: str) -> dict[str, Any]:
    try:
        verifier = UnitTests(tier=tier)
    except ModelError as error:
        return {"unavailable": str(error)}
    start = time.perf_counter()
    rows = problems()
    judged = verifier.judge([r.solution for r in rows], [r.tests for r in rows], [r.prefix for r in rows])
    failed = [f"{r.name}: {one.reason}" for r, one in zip(rows, judged, strict=True) if one.score != 1]
    return {"passed": len(rows) - len(failed), "failed": failed, "seconds": time.perf_counter() - start}


def _mutants(tier: str) -> dict[str, Any]:
    rows = [(r, body) for i, r in enumerate(problems()) for body in mutants(r.prefix, r.solution, MUTANTS, SEED + i)]
    verifier = UnitTests(tier=tier, timeout=3.0)
    judged = verifier.judge([body for _, body in rows], [r.tests for r, _ in rows], [r.prefix for r, _ in rows])
    failing = [(r.name, one.score == 0) for (r, _), one in zip(rows, judged, strict=True)]
    caught = {name for name, failed in failing if failed}
    every = {name for name, _ in failing}
    return {
        "tier": tier,
        "programs": len(rows),
        "share_that_fails": sum(failed for _, failed in failing) / len(rows),
        "problems_with_mutants": len(every),
        "problems_where_one_fails": len(caught),
        "problems_where_none_fails": sorted(every - caught),
        "unscored": sum(one.score is None for one in judged),
        "rule": f"one operator, number, text, keyword, min or max changed; {MUTANTS} a problem at most, seed {SEED}",
    }
