"""EGSW: a faster start from a wrong answer that dominates.

A bandit of ten arms, a prompt a seed; arm 0 is right and has P = .03 at the start, a wrong one has .7, the others share
the rest. Groups of eight, 300 steps. In a bandit all completions of a prompt have the same entropy, so that only the
advantage's part of the weights is at work, not the entropy's. High advantages gain exponentially, so the same step size
means larger steps for EGSW as long as right answers are rare: compared once at an equal step size and once with steps
of equal length.

Asked: steps until P(right) > 1/2, and P(right) at the end.

Found: most of the faster start is the larger step (11 updates to 36 at an equal step size, 56 to 58 at equal length),
and at an equal step size EGSW ends lower (.976 to .997), as it hardly unlearns wrong answers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from prefopt import recipes
from scripts.claims.experiment import Measured, Verdict, experiment
from scripts.claims.numbers import Numbers, first_step
from scripts.claims.plots import bars, lines
from scripts.claims.toys import Scored, Softmax, learn, unit_steps

ARMS, GROUP, STEPS, STEP_SIZE, LENGTH = 10, 8, 300, 0.4, 0.1
START = (0.03, 0.7, *[0.27 / 8] * 8)


def environment(arms: Tensor) -> Scored:
    """Arm 0 is right."""
    return Scored((arms[..., 0] == 0).double())


def rule(numbers: Numbers) -> Verdict:
    """Reproduced where EGSW needs fewer steps until P(right) > 1/2 than GRPO both at an equal step size and with steps
    of equal length, beyond doubt; partly where it does in one of the two.
    """
    faster = [numbers[f"steps, EGSW{how}"].below(numbers[f"steps, GRPO{how}"]) for how in ("", ", equal steps")]
    return (Verdict.NOT_REPRODUCED, Verdict.PARTLY, Verdict.REPRODUCED)[sum(faster)]


@experiment(
    claim="EGSW learns from fewer samples than GRPO: it leaves a wrong dominant answer sooner.",
    rule=rule,
    seeds=40,
)
def measure(seeds: Sequence[int]) -> Measured:
    """Train both; count steps."""
    curves = {}
    for name, recipe in (("GRPO", "grpo"), ("EGSW", "egsw")):
        for how, optimiser, rate in (
            ("", torch.optim.SGD, STEP_SIZE),
            (", equal steps", unit_steps(len(seeds)), LENGTH),
        ):
            curves[name + how] = learn(
                recipes.build(recipe), Softmax.of(np.log(START), len(seeds)), environment, seeds, steps=STEPS,
                group=GROUP, learning_rate=rate, record=lambda one: one.probabilities[:, 0, 0], optimiser=optimiser,
            )  # fmt: skip
    steps = {name: first_step(curve, 0.5) for name, curve in curves.items()}
    values = {f"steps, {name}": count for name, count in steps.items()}
    values |= {f"P(right) at the end, {name}": curve[:, -1] for name, curve in curves.items()}
    plots = (
        lines("Leaving the wrong answer", "step", "P(right)", np.arange(STEPS + 1), curves, level=0.5),
        bars("Steps until P(right) > 1/2", "steps", steps),
    )
    return Measured(values, plots)
