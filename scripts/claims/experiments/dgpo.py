"""DGPO and hard questions.

First the size of updates: groups of eight with one to seven right answers, one of each in a batch. sum |A| of a group,
without the weight of difficulty: GRPO's peaks at one half, DGPO's is the group's size throughout. Then learning: 32
questions a seed, eight answers of which two are right, start logits normal with deviation 1.5, groups of eight, 100
steps. Variants: GRPO; the mean absolute deviation alone; with the weight of difficulty; full DGPO, which also leaves
groups without signal out of the mean, so that its steps grow as questions are solved. Each at the same step size, and
with steps of the same length, as DGPO's advantages are simply larger and the first comparison favours it for that.

Asked: P(right) after 100 steps, over all questions and over the quarter that is hardest at the start.

Found: with steps of equal length most of the gain on hard questions is the weight of difficulty (.815 to .762 with the
mean absolute deviation alone and .747 for GRPO), and nothing is lost on the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prefopt import recipes
from prefopt.batch import Rollouts
from scripts.claims.experiment import Measured, Verdict, experiment
from scripts.claims.numbers import Numbers, each_seed
from scripts.claims.plots import bars, lines
from scripts.claims.toys import Scored, Softmax, Streams, learn, unit_steps

QUESTIONS, ANSWERS, RIGHT, GROUP, STEPS = 32, 8, 2, 8, 100
STEP_SIZE, LENGTH = 16.0, 0.4
VARIANTS: dict[str, dict[str, Any]] = {
    "GRPO": {"advantage": "grpo", "adjust": (), "sampling": ()},
    "deviation alone": {"adjust": (), "sampling": ()},
    "with difficulty": {"sampling": ()},
    "DGPO": {},
}


def environment(answers: Tensor) -> Scored:
    """The first two answers are right."""
    return Scored((answers[..., 0] < RIGHT).double())


def sizes(variant: str) -> np.ndarray:
    """sum |A| of groups of eight with 1 .. 7 right answers."""
    right = torch.arange(1, GROUP)[:, None] > torch.arange(GROUP)
    rows = right.numel()
    rollouts = Rollouts(
        torch.arange(rows) // GROUP,
        torch.ones(rows, 1, dtype=torch.bool),
        right.double().reshape(rows, 1),
        torch.zeros(rows, 1, dtype=torch.float64),
    )
    prepared = recipes.build("dgpo", **VARIANTS[variant]).prepare(rollouts)
    return prepared.advantages.abs().view(right.shape).sum(1).numpy()


def one(seed: int) -> dict[str, Any]:
    """Curves ``(steps + 1, 2)`` of every variant: P(right) over all questions and over the hardest quarter."""
    uniform = Streams([seed + 10_000]).uniform(QUESTIONS, ANSWERS)[0].clamp(1e-9)
    logits = 1.5 * torch.special.ndtri(uniform)[:, None]
    hardest = logits.softmax(-1)[:, 0, :RIGHT].sum(-1).argsort()[: QUESTIONS // 4]

    def solved(policy: Softmax) -> Tensor:
        right = policy.probabilities[:, 0, :RIGHT].sum(-1)
        return torch.stack([right.mean(), right[hardest].mean()]).expand(QUESTIONS, 2)

    found = {}
    for name, settings in VARIANTS.items():
        for how, optimiser, rate in (("", torch.optim.SGD, STEP_SIZE), (", equal steps", unit_steps(1), LENGTH)):
            curve = learn(
                recipes.build("dgpo", **settings), Softmax(logits.clone().requires_grad_()), environment, [seed],
                steps=STEPS, group=GROUP, learning_rate=rate, record=solved, optimiser=optimiser,
            )  # fmt: skip
            found[name + how] = curve[0]
    return found


def rule(numbers: Numbers) -> Verdict:
    """Reproduced where sum |A| of the mean absolute deviation is the same within 1 % from one to seven right answers
    and GRPO's is not, and DGPO's P(right) on the hardest quarter is above GRPO's with steps of equal length, beyond
    doubt; partly where the sums are so and it is above at an equal step size only.
    """
    flat = numbers["largest over smallest sum |A|, deviation alone"].below(1.01)
    peaked = numbers["largest over smallest sum |A|, GRPO"].above(1.01)
    if not (flat and peaked):
        return Verdict.NOT_REPRODUCED
    if numbers["hardest quarter, DGPO, equal steps"].above(numbers["hardest quarter, GRPO, equal steps"]):
        return Verdict.REPRODUCED
    gains = numbers["hardest quarter, DGPO"].above(numbers["hardest quarter, GRPO"])
    return Verdict.PARTLY if gains else Verdict.NOT_REPRODUCED


@experiment(
    claim="DGPO's updates do not peak at a pass rate of one half, and hard questions gain.",
    rule=rule,
    seeds=20,
)
def measure(seeds: Sequence[int]) -> Measured:
    """Sizes of updates, then training."""
    curves = each_seed(one, seeds)
    sums = {name: sizes(name) for name in VARIANTS if name != "DGPO"}
    values = {}
    for name in ("GRPO", "deviation alone"):
        spread = sums[name].max() / sums[name].min()
        values[f"largest over smallest sum |A|, {name}"] = np.full(len(seeds), spread)
    values |= {f"all questions, {name}": curve[:, -1, 0] for name, curve in curves.items()}
    values |= {f"hardest quarter, {name}": curve[:, -1, 1] for name, curve in curves.items()}
    steps, right = np.arange(STEPS + 1), np.arange(1, GROUP)
    hard = {name: curve[..., 1] for name, curve in curves.items() if name.split(",")[0] in ("GRPO", "DGPO")}
    plots = (
        lines("Size of a group's update", "right answers of eight", "sum |A|", right,
              {name: one_sum[None] for name, one_sum in sums.items()}),
        lines("The hardest quarter", "step", "P(right)", steps, hard),
        bars("Hardest quarter after 100 steps", "P(right)", {name: curve[:, -1, 1] for name, curve in curves.items()}),
    )  # fmt: skip
    return Measured(values, plots)
