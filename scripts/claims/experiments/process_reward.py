"""Sums that must meet a goal: a step may be without fault and yet lead nowhere.

A solution adds five numbers of 1 to 9 to 0, a step each, and writes the sum down every time; it is right where no sum
is miscalculated and the last one is the goal, drawn evenly from 10 to 40. The writer draws numbers evenly and slips
with chance .15 a step. A step's label says that nothing has slipped up to it, not whether the goal can still be met.

A network (what is missing to the goal over 45, steps left over 5, whether this step and an earlier one slipped; 64
hidden units) learns by the recipe's squares from 20,000 solutions of the writer, 15 rounds of Adam: with hindsight
(gamma = .9), and from the labels alone (gamma none). Then it guides: at each step the writer draws M candidates, and
the one of the highest score is taken, the first of equal ones. Asked is how many of 4,000 guided solutions are right.
The reading of a text is left out: what the network would read there is given to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from prefopt import recipes
from reward_models.losses import ProcessReward, Readings
from scripts.claims.experiment import Measured, Verdict, experiment
from scripts.claims.numbers import Numbers, each_seed
from scripts.claims.plots import lines

STEPS, LARGEST, GOALS, SLIP = 5, 9, (10, 40), 0.15
SOLUTIONS, ROUNDS, BATCH, GUIDED = 20_000, 15, 500, 4_000
CANDIDATES = (1, 2, 4, 8)
METHODS: dict[str, ProcessReward] = {
    "with hindsight": recipes.build("process_reward"),
    "labels alone": recipes.build("process_reward", gamma=None),
}


def drawn(shape: tuple[int, ...], draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the numbers that a writer adds, and whether each sum slips."""
    return torch.randint(1, LARGEST + 1, shape, generator=draw), torch.rand(shape, generator=draw) < SLIP


def goals(count: int, draw: torch.Generator) -> Tensor:
    """Return ``(count,)`` goals."""
    return torch.randint(GOALS[0], GOALS[1] + 1, (count,), generator=draw)


def inputs(missing: Tensor, left: Tensor | int, slips: Tensor, before: Tensor) -> Tensor:
    """Return what the network reads of a step, ``(..., 4)``."""
    lefts = torch.as_tensor(left).expand(missing.shape)
    return torch.stack([missing / (LARGEST * STEPS), lefts / STEPS, slips, before], -1).float()


def learnt(loss: ProcessReward, seed: int) -> nn.Module:
    """Train on the writer's own solutions."""
    draw = torch.Generator().manual_seed(1000 + seed)
    numbers, slips = drawn((SOLUTIONS, STEPS), draw)
    missing = goals(SOLUTIONS, draw)[:, None] - numbers.cumsum(-1)
    wrong = slips.cumsum(-1)
    outcomes = ((missing[:, -1] == 0) & (wrong[:, -1] == 0)).double()
    labels = (wrong == 0).double()
    read = inputs(missing, STEPS - 1 - torch.arange(STEPS), slips, wrong > slips)
    rows = [
        {"steps": [""] * STEPS, "step_labels": own, "outcome": outcome}
        for own, outcome in zip(labels.tolist(), outcomes.tolist(), strict=True)
    ]
    targets = torch.tensor([loss.targets(row) for row in rows])
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    optimiser = torch.optim.Adam(network.parameters(), 2e-3)
    for _ in range(ROUNDS):
        for places in torch.randperm(SOLUTIONS, generator=draw).split(BATCH):
            scores = network(read[places])
            there = torch.ones(scores.shape[:2], dtype=torch.bool)
            heads = torch.zeros(len(places), dtype=torch.long)
            optimiser.zero_grad()
            loss(Readings(scores, there, heads, {"target": targets[places]})).mean().backward()
            optimiser.step()
    return network


def guided(score: Callable[[Tensor], Tensor], candidates: int, seed: int) -> float:
    """Return the share of right solutions where ``score`` of inputs ``(N, M, 4)`` takes each step, ``(N, M)``."""
    draw = torch.Generator().manual_seed(2000 + seed)
    missing, wrong = goals(GUIDED, draw), torch.zeros(GUIDED, dtype=torch.bool)
    rows = torch.arange(GUIDED)
    for step in range(STEPS):
        numbers, slips = drawn((GUIDED, candidates), draw)
        before = wrong[:, None].expand_as(slips)
        with torch.no_grad():
            taken = score(inputs(missing[:, None] - numbers, STEPS - 1 - step, slips, before)).argmax(-1)
        missing = missing - numbers[rows, taken]
        wrong = wrong | slips[rows, taken]
    return float(((missing == 0) & ~wrong).double().mean())


def one(seed: int) -> dict[str, list[float]]:
    """Shares of right solutions by method and count of candidates."""
    found = {}
    for name, loss in METHODS.items():
        network = learnt(loss, seed)
        scored = lambda read, network=network: network(read)[..., 0]  # noqa: E731
        found[name] = [guided(scored, count, seed) for count in CANDIDATES]
    return found


def rule(numbers: Numbers) -> Verdict:
    """Reproduced where of 2, of 4 and of 8 candidates the share of right solutions is beyond doubt higher with
    hindsight than by labels alone; partly where it is so for one or two of these counts.
    """
    better = [
        numbers[f"{count} candidates, with hindsight"].above(numbers[f"{count} candidates, labels alone"])
        for count in CANDIDATES[1:]
    ]
    if all(better):
        return Verdict.REPRODUCED
    return Verdict.PARTLY if any(better) else Verdict.NOT_REPRODUCED


@experiment(
    claim="Steps chosen by labels with hindsight end right more often than steps chosen by labels alone.",
    rule=rule,
    seeds=6,
)
def measure(seeds: Sequence[int]) -> Measured:
    """Train both, guide with both."""
    curves = each_seed(one, seeds)
    values = {
        f"{count} candidates, {name}": curves[name][:, place]
        for name in METHODS
        for place, count in enumerate(CANDIDATES)
    }
    found = lines("Guided solutions", "candidates a step", "share right", np.array(CANDIDATES), curves)
    return Measured(values, (found,))
