"""Delta-L normalisation: variance and bias of the gradient, in the paper's model and where lengths are chosen.

The paper's model: a completion's gradient, summed over its tokens, has the same mean whatever its length T, and a
variance proportional to T. Here each token has a score of N(0, 1) plus mu / T, 64 completions of 5 to 100 tokens, and
250 such gradients side by side, for each seed with lengths of its own. The real losses are differentiated. The
figures are the variance of the estimate over its squared mean, relative to weights of a constant length, and its mean
with completions of 50 to 100 tokens over that with 5 to 50: an estimate that is unbiased up to a fixed scale has 1.

The model is asked too: a policy that chooses among three ways to answer, of 2, 6 and 20 tokens, with expected
rewards drawn from [0, 1]. There a completion's length says something of its gradient, and a weight that depends on the
length need not keep the direction. The figure is the cosine between the mean estimate of 12,000 completions and the
exact policy gradient, a mean over 20 such problems a seed. Advantages are centred and not divided, so that nothing but
the aggregation can be at fault. What alpha does to the direction is what a sequence mean does: short ways weigh more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prefopt import recipes
from prefopt.batch import PolicyOutputs, Rollouts
from prefopt.online.method import OnlineMethod
from scripts.claims.experiment import Measured, Verdict, experiment
from scripts.claims.numbers import Numbers, each_seed
from scripts.claims.plots import bars

LONGEST, COMPLETIONS, REPEATS, MEAN = 100, 64, 250, 3.0
WAYS, PROBLEMS, BATCHES, ROWS, GROUP = (2, 6, 20), 20, 3, 4000, 8
VARIANTS: dict[str, dict[str, Any]] = {
    "constant length": {"alpha": 0.0},
    "Delta-L 0.75": {"alpha": 0.75},
    "Delta-L 1": {"alpha": 1.0},
    "token mean": {"aggregate": "dapo"},
    "sequence mean": {"aggregate": "grpo"},
}


def objective(name: str) -> OnlineMethod:
    """Dr. GRPO with another aggregation."""
    settings = VARIANTS[name]
    if "aggregate" in settings:
        return recipes.build("dr_grpo", **settings)
    return recipes.build("delta_l", max_length=LONGEST, advantage="dr_grpo", **settings)


def rows(lengths: Tensor, rewards: Tensor, group: int) -> Rollouts:
    """Completions of these lengths, sampled with probability 1."""
    mask = torch.arange(int(lengths.max())) < lengths[:, None]
    places = torch.arange(len(lengths)) // group
    return Rollouts(places, mask, rewards[:, None], torch.zeros(mask.shape, dtype=torch.float64))


def gradient(name: str, rollouts: Rollouts, logps: Tensor, parameters: Tensor) -> Tensor:
    """Of the objective, not the loss."""
    method = objective(name)
    loss = method.loss(rollouts, method.prepare(rollouts), PolicyOutputs(logps))
    return -torch.autograd.grad(loss, parameters, retain_graph=True)[0]


def estimates(shortest: int, longest: int, generator: torch.Generator) -> dict[str, Tensor]:
    """The paper's model: 250 estimates by each aggregation, the same completions for all."""
    lengths = torch.randint(shortest, longest + 1, (COMPLETIONS,), generator=generator)
    won = (torch.arange(COMPLETIONS) % 2).double()
    scores = torch.randn(COMPLETIONS, int(lengths.max()), REPEATS, generator=generator, dtype=torch.float64)
    scores += ((2 * won - 1) * MEAN / lengths)[:, None, None]
    parameters = torch.zeros(REPEATS, dtype=torch.float64, requires_grad=True)
    rollouts, logps = rows(lengths, won, 2), scores @ parameters
    return {name: gradient(name, rollouts, logps, parameters) for name in VARIANTS}


def chosen_lengths(generator: torch.Generator) -> dict[str, float]:
    """Cosine of the mean estimate and the exact gradient, where the policy chooses the length."""
    cosines: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for _ in range(PROBLEMS):
        worth = torch.rand(len(WAYS), generator=generator, dtype=torch.float64)
        logits = torch.randn(len(WAYS), generator=generator, dtype=torch.float64).requires_grad_()
        chance = logits.detach().softmax(-1)
        exact = chance * (worth - chance @ worth)
        total = {name: torch.zeros_like(exact) for name in VARIANTS}
        for _ in range(BATCHES):
            way = torch.multinomial(chance, ROWS, replacement=True, generator=generator)
            first = logits.log_softmax(-1)[way]
            logps = torch.cat([(first - first.detach())[:, None], first.new_zeros(ROWS, max(WAYS) - 1)], 1)
            rollouts = rows(torch.tensor(WAYS)[way], worth[way], GROUP)
            for name in VARIANTS:
                total[name] += gradient(name, rollouts, logps, logits)
        for name, found in total.items():
            cosines[name].append(torch.cosine_similarity(found, exact, dim=0).item())
    return {name: float(np.mean(found)) for name, found in cosines.items()}


def one(seed: int) -> dict[str, float]:
    """Variance, bias by length and direction of one seed."""
    generator = torch.Generator().manual_seed(seed)
    mixed = estimates(5, LONGEST, generator)
    short, long = estimates(5, LONGEST // 2, generator), estimates(LONGEST // 2, LONGEST, generator)
    spread = {name: (found.var() / found.mean() ** 2).item() for name, found in mixed.items()}
    cosines = chosen_lengths(generator)
    values = {}
    for name in VARIANTS:
        values[f"variance: {name}"] = spread[name] / spread["constant length"]
        values[f"long over short: {name}"] = (long[name].mean() / short[name].mean()).item()
        values[f"cosine: {name}"] = cosines[name]
    return values


def rule(numbers: Numbers) -> Verdict:
    """Reproduced where the variance falls from constant length over alpha .75 to alpha 1, each beyond doubt by the
    paired difference, where the mean of both alphas with long completions is within 5 % of that with short ones and
    that of the sequence mean is not, and where both alphas keep the direction of the exact gradient, a cosine above
    .99, if the policy chooses the length; partly where all holds but the last.
    """
    variance = [numbers[f"variance: {name}"] for name in ("Delta-L 1", "Delta-L 0.75", "constant length")]
    ordered = variance[0].below(variance[1]) and variance[1].below(variance[2])
    ratios = [numbers[f"long over short: {name}"] for name in ("Delta-L 0.75", "Delta-L 1")]
    unbiased = all(ratio.above(0.95) and ratio.below(1.05) for ratio in ratios)
    biased = numbers["long over short: sequence mean"].below(0.95)
    if not (ordered and unbiased and biased):
        return Verdict.NOT_REPRODUCED
    straight = all(numbers[f"cosine: {name}"].above(0.99) for name in ("Delta-L 0.75", "Delta-L 1"))
    return Verdict.REPRODUCED if straight else Verdict.PARTLY


@experiment(
    claim="Weights T^-alpha give the gradient of least variance among those unbiased up to scale; a sequence mean is "
    "biased by length.",
    rule=rule,
    seeds=10,
)
def measure(seeds: Sequence[int]) -> Measured:
    """Differentiate the real losses."""
    values = each_seed(one, seeds)
    part = {kind: {name: values[f"{kind}: {name}"] for name in VARIANTS} for kind in TITLES}
    plots = tuple(bars(title, label, part[kind], level=1.0) for kind, (title, label) in TITLES.items())
    return Measured(values, plots, NOTES)


TITLES = {
    "variance": ("Variance over squared mean", "relative to constant length"),
    "long over short": ("Mean estimate, long over short completions", "ratio"),
    "cosine": ("Direction, where the policy chooses the length", "cosine with the exact gradient"),
}
NOTES = (
    "At one set of lengths a sequence mean has the weights of alpha = 1 up to scale, and a token mean those of a "
    "constant length; they differ from these in that their scale moves with the lengths of the batch.",
)
