"""The theorem of BNPO: its Beta density is the normaliser of least variance.

Pass rates p of 32 questions are drawn from a Beta(a, b), sixteen completions each. Advantages (r - p) / f(p) are
compared for three densities f: the flat one (Dr. GRPO), Beta(3/2, 3/2), of which GRPO's division by the standard
deviation is pi/8 (so its advantages are taken times pi/8), and BNPO's, fitted to the batch. Densities, because a larger
f is a smaller advantage: all of them have integral 1. Asked: the mean square of the advantage, which estimates the
theorem's E[p (1 - p) / f(p)^2], over 200 batches a seed. For (2, 5) the integral itself is .0947 for the best Beta,
.1786 flat, .1542 for Beta(3/2, 3/2).

Beside it, not part of the theorem: the noise of a batch's gradient of one parameter that raises all logits alike, its
variance over its squared mean, where the scale of f cancels. The score's own size depends on p, so least variance of
the advantage does not mean least noise of the gradient.

Found: less variance where pass rates are skewed or bunched, and the same as GRPO's where they are spread evenly; there
the best density, Beta(4/3, 4/3), gains 3.5 % on Beta(3/2, 3/2) in the integral (.1489 to .1542), and groups of sixteen
that are all right or all wrong, which count in the integral and not in a batch, take that away. The noise of the
gradient does not follow: where pass rates are skewed, BNPO's is about three times that of GRPO.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from prefopt import recipes
from prefopt.batch import Rollouts
from scripts.claims.experiment import Measured, Verdict, experiment
from scripts.claims.numbers import Numbers, each_seed
from scripts.claims.plots import bars

BATCHES, QUESTIONS, GROUP = 200, 32, 16
RATES = {"hard (2, 5)": (2.0, 5.0), "even (1, 1)": (1.0, 1.0), "middling (4, 4)": (4.0, 4.0), "easy (6, 2)": (6.0, 2.0)}
METHODS = ("BNPO", "flat", "GRPO")


def one(seed: int) -> dict[str, float]:
    """Mean squares and relative noise, by distribution and method."""
    draw = np.random.default_rng(seed)
    objectives = {
        "BNPO": (recipes.build("bnpo"), 1.0),
        "flat": (recipes.build("dr_grpo"), 1.0),
        "GRPO": (recipes.build("grpo", ddof=0, eps=0.0), np.pi / 8),
    }
    rows = QUESTIONS * GROUP
    group, mask = torch.arange(QUESTIONS).repeat_interleave(GROUP), torch.ones(rows, 1, dtype=torch.bool)
    found = {}
    for name, (a, b) in RATES.items():
        squares: dict[str, list[float]] = {method: [] for method in METHODS}
        gradients: dict[str, list[float]] = {method: [] for method in METHODS}
        for _ in range(BATCHES):
            rates = torch.as_tensor(draw.beta(a, b, QUESTIONS)).repeat_interleave(GROUP)[:, None]
            rewards = (torch.as_tensor(draw.random((rows, 1))) < rates).double()
            rollouts = Rollouts(group, mask, rewards, torch.zeros(rows, 1, dtype=torch.float64))
            for method, (objective, scale) in objectives.items():
                advantages = scale * objective.prepare(rollouts).advantages
                squares[method].append(advantages.square().mean().item())
                gradients[method].append((advantages * (rewards - rates)).mean().item())
        for method in METHODS:
            found[f"{method}, {name}"] = float(np.mean(squares[method]))
            noise = np.var(gradients[method], ddof=1) / np.mean(gradients[method]) ** 2
            found[f"relative noise of the gradient, {method}, {name}"] = float(noise)
    return found


def rule(numbers: Numbers) -> Verdict:
    """Reproduced where the mean square of BNPO's advantages is below that of both others for every distribution of pass
    rates, beyond doubt; partly where it is for at least one, and nowhere above either.
    """
    pairs = [(f"BNPO, {name}", f"{other}, {name}") for name in RATES for other in ("flat", "GRPO")]
    below = [numbers[own].below(numbers[other]) for own, other in pairs]
    above = any(numbers[own].above(numbers[other]) for own, other in pairs)
    if all(below):
        return Verdict.REPRODUCED
    somewhere = any(all(below[at : at + 2]) for at in range(0, len(below), 2))
    return Verdict.PARTLY if somewhere and not above else Verdict.NOT_REPRODUCED


@experiment(
    claim="Advantages over BNPO's fitted Beta density have less variance than over a flat density or over GRPO's.",
    rule=rule,
    seeds=10,
)
def measure(seeds: Sequence[int]) -> Measured:
    """Mean square of the advantage by method and distribution."""
    values = each_seed(one, seeds)
    squares = {name: value for name, value in values.items() if not name.startswith("relative")}
    noise = {name.split(", ", 1)[1]: value for name, value in values.items() if name.startswith("relative")}
    plots = (
        bars("Variance of the advantage", "mean square, densities of integral 1", squares),
        bars("Relative noise of the gradient", "variance / mean squared", noise),
    )
    return Measured(values, plots)
