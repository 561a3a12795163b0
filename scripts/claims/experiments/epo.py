"""EPO: entropy over the turns of a task that pays only at its end.

Sixteen prompts, six turns of one choice among four; reward 1 if all six are the wanted ones, each of which has P = .5
at the start, so that 1.6 % of conversations succeed. A table of logits; 16 conversations a prompt, 300 batches, a bonus
of .1. Asked: the share of turns, over all batches, whose entropy lies outside the band of .5 to 1.5 times the mean of
the batches before, and P(success) at the end. EPO has the paper's alpha of .1 and that band; beside it the band of 0 to
2 of the paper's experiments, the released code, and an alpha of 2. The paper's tasks are ScienceWorld and ALFWorld.

The entropy of that problem starts near its largest value and cannot leave the band upwards. So a wide problem was added
after the first run, and the rule does not read it: 32 choices, P = .6, .7, .8, .9, .95 and .95 at the start, early
turns less certain than late ones, and a bonus of .2, with which the entropy of a plain run grows without end. There
EPO differs from the plain bonus beyond doubt in both figures, so that the rule would be met, but to no effect: .66 for
.73 of turns outside, its entropy grows without end as well, and P(success) is .00005 for .00001.

What the formula says before any run: beyond the band the penalty takes ``beta alpha`` of the bonus's slope, and beta is
at most 2. With an alpha of .1 at most a fifth of the bonus is taken back above the band, and the push stays upward;
only ``beta alpha > 1`` turns it round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prefopt import recipes
from scripts.claims.experiment import Measured, Verdict, experiment
from scripts.claims.numbers import Numbers, each_seed
from scripts.claims.plots import bars, lines
from scripts.claims.toys import Scored, Softmax, learn

PROMPTS, GROUP, STEPS, LEARNING_RATE = 16, 16, 300, 1.0
LOW, HIGH = 0.5, 1.5
BAND = {"low": LOW, "high": HIGH, "steps": STEPS}
VARIANTS: dict[str, dict[str, Any]] = {
    "EPO": BAND,
    "EPO, band 0 to 2": {"low": 0.0, "high": 2.0, "steps": STEPS},
    "EPO, alpha 2": BAND | {"alpha": 2.0},
    "EPO, released": BAND | {"released": True},
    "plain bonus": BAND | {"alpha": 0.0},
    "no bonus": BAND | {"coefficient": 0.0},
}
WIDE = ("EPO", "EPO, alpha 2", "plain bonus", "no bonus")


@dataclass(frozen=True)
class Problem:
    """P of the wanted choice at each turn, how many choices there are, and the bonus."""

    chance: tuple[float, ...]
    choices: int
    bonus: float

    def start(self) -> np.ndarray:
        """Logits ``(turns, choices)``."""
        wanted = np.array(self.chance)[:, None]
        return np.log(np.where(np.arange(self.choices) == 0, wanted, (1 - wanted) / (self.choices - 1)))


NARROW_PROBLEM = Problem((0.5,) * 6, 4, 0.1)
WIDE_PROBLEM = Problem((0.6, 0.7, 0.8, 0.9, 0.95, 0.95), 32, 0.2)


def environment(actions: Tensor) -> Scored:
    """1 where every turn is the wanted choice, 0."""
    return Scored((actions == 0).all(-1).double())


def look(policy: Softmax) -> Tensor:
    """P(success) and the entropy of each turn, ``(prompts, 1 + turns)``."""
    chance = policy.probabilities
    return torch.cat([chance[..., 0].prod(-1, keepdim=True), torch.special.entr(chance).sum(-1)], -1)


def train(problem: Problem, name: str, seed: int) -> dict[str, Any]:
    """Curves of P(success) and entropy, share of turns outside the band, spread over turns."""
    settings = {"coefficient": problem.bonus} | VARIANTS[name]
    curve = learn(
        recipes.build("epo", **settings),
        Softmax.of(problem.start(), PROMPTS),
        environment,
        [seed],
        steps=STEPS,
        group=GROUP,
        learning_rate=LEARNING_RATE * PROMPTS,
        record=look,
    )[0]
    turns = curve[1:, 1:]
    usual = (curve[:-1, 1:].mean(-1).cumsum() / np.arange(1, STEPS + 1))[:, None]
    outside = (turns < LOW * usual) | (turns > HIGH * usual)
    return {
        f"{name}: success": curve[:, 0],
        f"{name}: entropy": curve[:, 1:].mean(-1),
        f"{name}: outside": outside.mean(),
        f"{name}: spread": turns.std(-1).mean(),
    }


def one(seed: int) -> dict[str, Any]:
    """Train each variant on both problems."""
    found: dict[str, Any] = {}
    for name in VARIANTS:
        found |= train(NARROW_PROBLEM, name, seed)
    for name in WIDE:
        found |= {f"wide, {key}": value for key, value in train(WIDE_PROBLEM, name, seed).items()}
    return found


def rule(numbers: Numbers) -> Verdict:
    """Reproduced where EPO has a smaller share of turns outside the band than the plain bonus, and ends above it in
    P(success), each beyond doubt by the paired difference; partly where only the first holds.
    """
    held = numbers["EPO: outside"].below(numbers["plain bonus: outside"])
    better = numbers["EPO: success"].above(numbers["plain bonus: success"])
    if not held:
        return Verdict.NOT_REPRODUCED
    return Verdict.REPRODUCED if better else Verdict.PARTLY


@experiment(
    claim="A band around past entropy stops the swings between early and late turns that a plain bonus brings, and "
    "more tasks succeed.",
    rule=rule,
    seeds=8,
)
def measure(seeds: Sequence[int]) -> Measured:
    """Train all variants."""
    runs = each_seed(one, seeds)
    steps = np.arange(STEPS + 1)
    names = [*VARIANTS, *(f"wide, {name}" for name in WIDE)]
    values = {f"{name}: success": runs[f"{name}: success"][:, -20:].mean(-1) for name in names}
    values |= {key: found for key, found in runs.items() if key.endswith((": outside", ": spread"))}
    wide = {what: {n: runs[f"wide, {n}: {what}"] for n in WIDE} for what in ("success", "entropy", "outside")}
    plots = (
        lines("Tasks solved", "batch", "P(success)", steps, {n: runs[f"{n}: success"] for n in VARIANTS}),
        lines("Wide problem: tasks solved", "batch", "P(success)", steps, wide["success"]),
        lines("Wide problem: entropy", "batch", "mean over turns, nats", steps, wide["entropy"]),
        bars("Wide problem: turns outside .5 to 1.5 times the past mean", "share", wide["outside"]),
    )
    return Measured(values, plots)
