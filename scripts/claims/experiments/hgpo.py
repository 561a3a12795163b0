"""HGPO and GiGPO: bias and variance of the advantages of turns, where states hide a past that matters.

Episodes of three turns. The first state is a coin; each turn's action, 0 or 1, each with .5, is the next state. So a
state names the last action only. P(success) = .1 + .5 if the first action equals the coin, + .2 if the second is 1, +
.2 more if the third differs from the coin: what came before changes a state's value. Groups of sixteen episodes that
share nothing but the prompt; the coin differs within a group. No discount and no deviations, so that estimates are in
the units of the truth: Q - V of each turn given the whole past, which is known.

Estimates: the whole episode for every turn (GRPO's); turns from the same state (the step term of GiGPO, k = 1); from
the longest shared history alone (k = 3, where there are that many); HGPO's mixture of the three; GiGPO's sum of episode
and step. Bias and variance are over groups, for each past and action: mean square of the mean error, and mean variance.
A turn that shares its history with no other gets 0, which is part of the bias. Beside them the correlation of estimate
and truth, in which a scale, such as that of GiGPO's sum of two estimates of the same thing, does not count.

Found: the longest history is best in bias, variance and error alike; HGPO comes second. Part of that is shrinking: a
turn counts in the mean that it is compared with, and of two that share a history each gets half their difference.
GiGPO's sum is about twice the truth, so its error is large (.82 to .21 for the episode); its correlation with the truth
(.319) is no higher than the episode's (.322), as states are mixed over turns and pasts of different value.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from prefopt import recipes
from prefopt.batch import Rollouts
from scripts.claims.experiment import Measured, Verdict, experiment
from scripts.claims.numbers import Numbers, each_seed
from scripts.claims.plots import Plot, Series, bars

TURNS, GROUP, GROUPS = 3, 16, 1500
PLAIN = {"normalise": False, "discount": 1.0, "beta": 0.0}
ESTIMATES = {
    "same state": ("hgpo", {"history": 0, **PLAIN}),
    "longest history": ("hgpo", {"alpha": 50.0, **PLAIN}),
    "HGPO": ("hgpo", PLAIN),
    "GiGPO": ("gigpo", PLAIN),
    "episode": ("dr_grpo", {}),
}


def chance(coin: Tensor, actions: Tensor) -> Tensor:
    """P(success) of complete episodes; coin ``(...)``, actions ``(..., 3)``."""
    first, second, third = actions.unbind(-1)
    return 0.1 + 0.5 * (first == coin) + 0.2 * second + 0.2 * (third != coin)


def true_advantages(coin: Tensor, actions: Tensor) -> Tensor:
    """Return ``(..., 3)``: Q - V of each turn, later actions being tossed."""
    tails = torch.cartesian_prod(*[torch.arange(2)] * TURNS)
    values = []
    for known in range(TURNS + 1):
        kept = torch.arange(TURNS) < known
        filled = torch.where(kept, actions[..., None, :], tails)
        values.append(chance(coin[..., None], filled).mean(-1))
    return torch.stack(values, -1).diff(dim=-1)


def one(seed: int) -> dict[str, float]:
    """Bias, variance and mean squared error of each estimate."""
    draw = torch.Generator().manual_seed(seed)
    rows = GROUPS * GROUP
    coin = torch.randint(2, (rows,), generator=draw)
    actions = torch.randint(2, (rows, TURNS), generator=draw)
    success = torch.rand(rows, generator=draw, dtype=torch.float64) < chance(coin, actions)
    truth = true_advantages(coin, actions)
    extras = {
        "turn_states": torch.cat([coin[:, None], 2 + actions[:, :-1]], 1),
        "turn_ids": torch.arange(TURNS).expand(rows, TURNS),
    }
    rollouts = Rollouts(
        torch.arange(GROUPS).repeat_interleave(GROUP),
        torch.ones(rows, TURNS, dtype=torch.bool),
        success.double()[:, None],
        torch.zeros(rows, TURNS, dtype=torch.float64),
        extras,
    )
    past = 8 * coin + (actions * torch.tensor([4, 2, 1])).sum(-1)
    cell = torch.stack([past // 4 * 4, past // 2 * 2, past], -1) + 16 * torch.arange(TURNS)
    found = {}
    for name, (recipe, settings) in ESTIMATES.items():
        estimate = recipes.build(recipe, **settings).prepare(rollouts).advantages
        error = (estimate - truth).flatten()
        found[f"correlation, {name}"] = torch.corrcoef(torch.stack([estimate, truth]).flatten(1))[0, 1].item()
        where = cell.flatten()
        count = torch.bincount(where)
        mean = torch.bincount(where, error) / count.clamp(min=1)
        found[f"error, {name}"] = error.square().mean().item()
        found[f"bias, {name}"] = mean[where].square().mean().item()
        found[f"variance, {name}"] = (error - mean[where]).square().mean().item()
    return found


def rule(numbers: Numbers) -> Verdict:
    """Reproduced where HGPO's squared bias is below that of turns from the same state, its variance below that of the
    longest history, and its mean squared error below both, each beyond doubt; partly where bias and variance are so.
    """
    bias = numbers["bias, HGPO"].below(numbers["bias, same state"])
    variance = numbers["variance, HGPO"].below(numbers["variance, longest history"])
    error = all(numbers["error, HGPO"].below(numbers[f"error, {other}"]) for other in ("same state", "longest history"))
    if bias and variance:
        return Verdict.REPRODUCED if error else Verdict.PARTLY
    return Verdict.NOT_REPRODUCED


def rule_of_states(numbers: Numbers) -> Verdict:
    """Reproduced where the mean squared error of turns from the same state is below that of the whole episode, and that
    of GiGPO's sum is, too, each beyond doubt; partly where the first is.
    """
    alone = numbers["error, same state"].below(numbers["error, episode"])
    added = numbers["error, GiGPO"].below(numbers["error, episode"])
    if alone:
        return Verdict.REPRODUCED if added else Verdict.PARTLY
    return Verdict.NOT_REPRODUCED


def measured(seeds: Sequence[int]) -> Measured:
    """All estimates, and where they lie between bias and variance."""
    values = each_seed(one, seeds)
    places = tuple(
        Series(
            name,
            [round(float(values[f"bias, {name}"].mean()), 5)],
            [round(float(values[f"variance, {name}"].mean()), 5)],
        )
        for name in ESTIMATES
    )
    plots = (
        Plot("Advantages of turns", "squared bias", "variance", places, "points"),
        bars("Distance from the truth", "mean squared error", {name: values[f"error, {name}"] for name in ESTIMATES}),
    )
    return Measured(values, plots)


@experiment(
    claim="HGPO's turns have less bias than those that share a state, less variance than those that share the longest "
    "history, and are nearer to the truth than both.",
    rule=rule,
    seeds=10,
)
def measure(seeds: Sequence[int]) -> Measured:
    """Bias and variance."""
    return measured(seeds)
