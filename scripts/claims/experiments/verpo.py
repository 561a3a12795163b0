"""VeRPO on a problem with a trap of easy tests.

A program is four independent decisions with P = (.4, .5, .3, .15) at the start: to solve the problem in general rather
than to hard-code it, and three skills. Of 17 tests a hard-coded program passes the first 12 and no other; a general one
passes tests 1 to 12, 13 to 15 and 16 to 17 according to its skills. So the 12 easy tests pay for the wrong thing: the
way to all 17 leads through programs that fail the 12. Ten programs a step, one gradient step each (step size .3, tokens
summed, so that the ratio is 1 and nothing is clipped), no division by the standard deviation.

Asked: how many steps until P(all tests pass) > 1/2. Runs stop at 800 steps, and one that has not arrived counts as 800.
The paper compares scores on Codeforces; here speed on a toy stands for it, with one turn and no language model.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from prefopt import recipes
from scripts.claims.experiment import Measured, Verdict, experiment
from scripts.claims.numbers import Numbers, first_step
from scripts.claims.plots import bars, lines
from scripts.claims.toys import Decisions, Scored, learn

START = (0.4, 0.5, 0.3, 0.15)
STEPS, GROUP, LEARNING_RATE = 800, 10, 0.3
PASS_RATE = {"alpha": 0.0, "density": False, "sum_to_one": True}
VARIANTS = {
    "full": {},
    "difficulty only, anchor": {"density": False, "sum_to_one": True},
    "without anchor": {"anchor": False},
    "pass rate, anchor": PASS_RATE,
    "outcome only": {"beta": 0.0},
    "pass rate alone": {**PASS_RATE, "anchor": False},
}
ORDER = ("full", "without anchor", "pass rate, anchor", "outcome only", "pass rate alone")


def tests_passed(programs: Tensor) -> Tensor:
    """Return ``(..., 17)`` verdicts of programs ``(..., 4)``: general, and three skills."""
    general, *skills = programs.bool().unbind(-1)
    first, second, third = (general & skill for skill in skills)
    easy = ~general | first
    parts = [part[..., None].expand(*part.shape, count) for part, count in ((easy, 12), (second, 3), (third, 2))]
    return torch.cat(parts, -1).double()


def environment(programs: Tensor) -> Scored:
    """Results of all tests; the reward is the outcome, which the recipe does not read."""
    results = tests_passed(programs)
    return Scored(results.amin(-1), {"test_results": results})


def solved(policy: Decisions) -> Tensor:
    """P(all tests pass) of each seed: all four decisions are yes."""
    return policy.probabilities.prod(-1)


def rule(numbers: Numbers) -> Verdict:
    """Reproduced where full VeRPO is faster than with difficulty only, and where full, without anchor, pass rate with
    anchor, outcome only and pass rate alone follow in this order, each beyond doubt by the paired difference; partly
    where full is faster than each of the others, but their order is another or in doubt.
    """
    neighbours = pairwise(ORDER)
    ordered = all(numbers[fast].below(numbers[slow]) for fast, slow in neighbours)
    fastest = all(numbers["full"].below(numbers[other]) for other in VARIANTS if other != "full")
    if ordered and fastest:
        return Verdict.REPRODUCED
    return Verdict.PARTLY if fastest else Verdict.NOT_REPRODUCED


@experiment(
    claim="Full VeRPO learns faster than without the outcome anchor, than pass rate with the anchor, than the outcome "
    "only; pass rate alone ends in the trap.",
    rule=rule,
    seeds=20,
)
def measure(seeds: Sequence[int]) -> Measured:
    """Train each variant; count steps."""
    curves = {}
    for name, settings in VARIANTS.items():
        objective = recipes.build("verpo", aggregate="rloo", **settings)
        policy = Decisions.of(START, len(seeds))
        curves[name] = learn(
            objective,
            policy,
            environment,
            seeds,
            steps=STEPS,
            group=GROUP,
            learning_rate=LEARNING_RATE,
            record=solved,
        )
    steps = {name: first_step(curve, 0.5) for name, curve in curves.items()}
    escaped = int((curves["pass rate alone"].max(-1) > 0.5).sum())
    note = f"By pass rate alone {escaped} of {len(seeds)} seeds leave the trap within {STEPS} steps."
    short = {name: curve[:, :501] for name, curve in curves.items()}
    plots = (
        lines("The way out of the trap", "step", "P(all tests pass)", np.arange(501), short, level=0.5),
        bars("Steps until P(all tests pass) > 1/2", "steps", steps),
    )
    return Measured(steps, plots, (note,))
