"""Progress under provers of different strength, where the outcome is hardly ever seen.

A string has 10 letters of 15 and is right where a planted string of 5 is found in it, letter by letter in order, with
others between them or not. A policy that knows nothing is right in 2 of 10,000 strings. Its table of logits has a row
for each place and each count of planted letters found so far. Every step 64 strings, Adam with rate .02, the recipe
``progress_bonus`` with alpha = 1 (0 for outcome only), 2,000 steps.

A prover of strength gamma draws the next planted letter with weight gamma, the others with weight 1: with 1 it is the
policy at the start, with 1,000 hardly ever wrong. A network (two inputs: letters still to come and planted letters
still missing, over 10; 32 hidden units) learns its values by the recipe's loss from 300 strings, half drawn by the
policy at the start and half by the prover, each of whose beginnings the prover completes 20 times. It stays as it is
while the policy learns. A step is one letter, its progress the difference of two values.

Asked: how many steps until more than half of the policy's strings are right (exact, not sampled). A run that does not
get there counts as 2,000. The paper's policy is a network that reads the string; here the table is told how far it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from prefopt import recipes
from reward_models.losses import Readings
from reward_models.progress import advantages
from scripts.claims.experiment import Measured, Verdict, experiment
from scripts.claims.numbers import Numbers, first_step
from scripts.claims.plots import lines
from scripts.claims.toys import Scored, learn

LETTERS, LENGTH, PLANTED = 15, 10, 5
PROVERS = (1, 3, 10, 30, 1000)
ALPHA, GROUP, STEPS, RATE = 1.0, 64, 2000, 0.02
STRINGS, COMPLETIONS, ROUNDS = 300, 20, 600


def found_before(actions: Tensor) -> Tensor:
    """Return ``(..., T + 1)``: planted letters found before each place and at the end. Letter k is the k-th planted."""
    count = torch.zeros_like(actions[..., 0])
    seen = [count]
    for letter in actions.unbind(-1):
        count = count + ((letter == count) & (count < PLANTED))
        seen.append(count)
    return torch.stack(seen, -1)


@dataclass(frozen=True)
class Searcher:
    """Logits ``(contexts, T, P + 1, V)``: by place and planted letters found so far."""

    logits: Tensor

    @property
    def probabilities(self) -> Tensor:
        """``(contexts, T, P + 1, V)``."""
        return self.logits.detach().softmax(-1)

    def _rows(self, actions: Tensor) -> Tensor:
        contexts = torch.arange(len(actions))[:, None, None]
        return self.logits.log_softmax(-1)[contexts, torch.arange(LENGTH), found_before(actions)[..., :-1]]

    def sample(self, uniform: Tensor) -> Tensor:
        """Return letters, place by place."""
        bounds = self.probabilities.cumsum(-1)[..., :-1]
        contexts = torch.arange(len(uniform))[:, None]
        count, drawn = torch.zeros(uniform.shape[:2], dtype=torch.long), []
        for place in range(LENGTH):
            letter = (uniform[..., place, None] >= bounds[contexts, place, count]).sum(-1)
            count = count + ((letter == count) & (count < PLANTED))
            drawn.append(letter)
        return torch.stack(drawn, -1)

    def logps(self, actions: Tensor) -> Tensor:
        """Log-probability of each letter."""
        return self._rows(actions).gather(-1, actions[..., None])[..., 0]

    def entropies(self, actions: Tensor) -> Tensor:
        """Entropy at each place."""
        return torch.special.entr(self._rows(actions).exp()).sum(-1)

    def right(self) -> Tensor:
        """``(contexts,)``: exact chance of a right string."""
        p = self.probabilities
        forward = torch.zeros(len(p), PLANTED + 1, dtype=p.dtype)
        forward[:, 0] = 1.0
        for place in range(LENGTH):
            onward = p[:, place].diagonal(dim1=1, dim2=2)[:, :PLANTED] * forward[:, :PLANTED]
            forward = forward + nn.functional.pad(onward, (1, 0)) - nn.functional.pad(onward, (0, 1))
        return forward[:, PLANTED]


def completed(count: Tensor, left: Tensor, gamma: float, draw: torch.Generator) -> Tensor:
    """Whether the prover ends right from ``count`` planted letters with ``left`` letters to come; same shape."""
    chance = gamma / (gamma + LETTERS - 1)
    hits = torch.rand(*count.shape, LENGTH, generator=draw) < chance
    taken = (hits & (torch.arange(LENGTH) < left[..., None])).sum(-1)
    return (count + taken >= PLANTED).double()


def inputs(count: Tensor) -> Tensor:
    """Return what the value network reads of beginnings ``(..., T + 1)``: ``(..., T + 1, 2)``."""
    left = (LENGTH - torch.arange(LENGTH + 1)).expand(count.shape)
    return torch.stack([left, PLANTED - count], -1).float() / LENGTH


@dataclass(frozen=True)
class Verifier:
    """Learnt values of beginnings under a prover."""

    network: nn.Module = field(repr=False)

    @classmethod
    def learnt(cls, gamma: float, seed: int) -> Verifier:
        """Train by the recipe's loss on completions of the prover."""
        loss = recipes.build("process_advantage")
        draw = torch.Generator().manual_seed(1000 + seed)
        chance = torch.full((2, 1, 1), 1 / LETTERS)
        chance[1] = gamma / (gamma + LETTERS - 1)
        hits = torch.rand(2, STRINGS // 2, LENGTH, generator=draw) < chance
        count = nn.functional.pad(hits.cumsum(-1).clamp(max=PLANTED), (1, 0)).flatten(0, 1)
        left = (LENGTH - torch.arange(LENGTH + 1)).expand(count.shape)
        each = [completed(count, left, gamma, draw) for _ in range(COMPLETIONS)]
        values = torch.stack(each).mean(0).tolist()
        rows = [{"steps": [""] * LENGTH, "prompt_value": own[0], "step_values": own[1:]} for own in values]
        targets = torch.tensor([loss.targets(row) for row in rows])
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 1))
        optimiser = torch.optim.Adam(network.parameters(), 1e-2)
        there = torch.ones(count.shape, dtype=torch.bool)
        for _ in range(ROUNDS):
            scores = network(inputs(count))
            readings = Readings(scores, there, torch.zeros(len(rows), dtype=torch.long), {"target": targets})
            optimiser.zero_grad()
            loss(readings).mean().backward()
            optimiser.step()
        return cls(network)

    def progress(self, count: Tensor) -> Tensor:
        """Return the advantages ``(G, T)`` of the letters of strings with ``count`` ``(G, T + 1)``."""
        with torch.no_grad():
            values = self.network(inputs(count))[..., 0].sigmoid()
        return advantages(values.movedim(-1, 0)).movedim(0, -1)


def curves_of(gamma: float | None, seeds: Sequence[int]) -> np.ndarray:
    """Train with progress under a prover, or with the outcome alone; ``(seeds, STEPS + 1)`` chances to be right."""
    verifiers = [Verifier.learnt(gamma, seed) for seed in seeds] if gamma is not None else []
    policy = Searcher(torch.zeros(len(seeds), LENGTH, PLANTED + 1, LETTERS, dtype=torch.float64, requires_grad=True))

    def environment(actions: Tensor) -> Scored:
        count = found_before(actions)
        steps = torch.zeros(actions.shape, dtype=torch.float64)
        if verifiers:
            steps = torch.stack([one.progress(own) for one, own in zip(verifiers, count, strict=True)]).double()
        places = torch.arange(LENGTH).expand(actions.shape)
        return Scored((count[..., -1] == PLANTED).double(), {"step_rewards": steps, "step_ids": places})

    objective = recipes.build("progress_bonus", alpha=0.0 if gamma is None else ALPHA, beta=0.0)
    return learn(
        objective, policy, environment, seeds, steps=STEPS, group=GROUP, learning_rate=RATE,
        record=lambda one: one.right(), optimiser=torch.optim.Adam,
    )  # fmt: skip


def rule(numbers: Numbers) -> Verdict:
    """Reproduced where with the prover of strength 10 the steps are beyond doubt fewer than a third of those with the
    outcome alone, and fewer than half of those with the provers of strength 1 and of 1,000; partly where they are
    beyond doubt fewer than with the outcome alone.
    """
    middle = numbers["prover 10"]

    def part_of(name: str, share: float) -> bool:
        other = numbers[name]
        return middle.below(type(other)(tuple(share * value for value in other.values)))

    if part_of("outcome alone", 1 / 3) and part_of("prover 1", 1 / 2) and part_of("prover 1000", 1 / 2):
        return Verdict.REPRODUCED
    return Verdict.PARTLY if part_of("outcome alone", 1.0) else Verdict.NOT_REPRODUCED


@experiment(
    claim="A bonus for progress under a prover that is neither too weak nor too strong needs far fewer iterations.",
    rule=rule,
    seeds=6,
)
def measure(seeds: Sequence[int]) -> Measured:
    """Learn values, train with each prover and without, count steps."""
    arms: dict[str, float | None] = {"outcome alone": None, **{f"prover {gamma}": gamma for gamma in PROVERS}}
    curves = {name: curves_of(gamma, seeds) for name, gamma in arms.items()}
    steps = {name: first_step(curve, 0.5) for name, curve in curves.items()}
    late = {name: int((curve.max(-1) <= 0.5).sum()) for name, curve in curves.items()}
    notes = [
        f"{name}: {count} of {len(seeds)} runs do not get there in {STEPS} steps."
        for name, count in late.items()
        if count
    ]
    plot = lines("Right strings", "step", "P(right)", np.arange(STEPS + 1), curves, level=0.5)
    return Measured(steps, (plot,), tuple(notes))
