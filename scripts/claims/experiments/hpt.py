"""HPT: easy prompts, prompts that no rollout solves, and one demonstration each.

Ninety-six prompts with twelve features, half of them for training; an answer is eight tokens of a vocabulary of six
whose logits are linear in the features, and is right, reward 1, if at most one token differs from those of a random
linear table. The policy starts with that table's weights, disturbed, on the first six features and with nothing on the
others. Even prompts have their energy in the first six features: the policy solves some of their rollouts. Odd ones
have it in the others: chance solves 2 in 100,000. A demonstration is right with one token changed for most prompts, as
an expert writes otherwise than the policy needs to. Eight completions a prompt, 400 batches, Adam
as in the paper, which starts anew in the middle of each run.

Only the gate differs between the runs: 0 successes (HPT), always the demonstration (SFT), never (RL), and SFT in the
first half and RL in the second. ``max_length`` 16 keeps a token of a rollout about ten times the weight of one of a
demonstration, as in the paper, where a batch demonstrates some 90,000 tokens and divides rollouts by 8,192.
Asked: P(right) at the end on training prompts and on the others, and the share of prompts that are demonstrated.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from prefopt import recipes
from prefopt.batch import PolicyOutputs, Prepared, Rollouts
from scripts.claims.experiment import Measured, Verdict, experiment
from scripts.claims.numbers import Numbers, each_seed
from scripts.claims.plots import bars, lines
from scripts.claims.toys import Featured, Scored, learn

PROMPTS, FEATURES, KNOWN, TOKENS, VOCABULARY = 48, 12, 6, 8, 6
GROUP, STEPS, LEARNING_RATE, LONGEST = 8, 400, 0.03, 16
ALWAYS, NEVER = GROUP, -1
VARIANTS = {"HPT": (0, 0), "SFT, then RL": (ALWAYS, NEVER), "RL": (NEVER, NEVER), "SFT": (ALWAYS, ALWAYS)}


class Task:
    """Prompts, wanted tokens, demonstrations and the first weights of one seed."""

    def __init__(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(1000 + seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        self.features = normal(2 * PROMPTS, FEATURES)
        self.features[::2, KNOWN:] *= 0.2
        self.features[1::2, :KNOWN] *= 0.2
        table = normal(FEATURES, TOKENS, VOCABULARY)
        self.wanted = torch.einsum("pf,ftv->ptv", self.features, table).argmax(-1)
        changed = torch.randint(TOKENS, (PROMPTS, 1), generator=generator)
        token = torch.randint(VOCABULARY, (PROMPTS, 1), generator=generator)
        self.demonstrations = self.wanted[:PROMPTS].scatter(1, changed, token)[:, None]
        self.start = table + 0.3 * normal(*table.shape)
        self.start[KNOWN:] = 0

    def environment(self, actions: Tensor) -> Scored:
        """1 where at most one token is wrong."""
        return Scored(((actions != self.wanted[:PROMPTS, None]).sum(-1) <= 1).double())

    def solved(self, policy: Featured) -> Tensor:
        """P(right) of each training prompt and of each other, ``(prompts, 2)``; exact."""
        table = Featured(policy.logits.detach(), self.features).probabilities
        hit = table.gather(-1, self.wanted[..., None])[..., 0]
        others = torch.stack(
            [hit[:, [j for j in range(TOKENS) if j != t]].prod(-1) * (1 - hit[:, t]) for t in range(TOKENS)]
        )
        return (hit.prod(-1) + others.sum(0)).view(2, PROMPTS).T


def one(seed: int) -> dict[str, np.ndarray]:
    """Train each variant on one seed's task."""
    task, found = Task(seed), {}
    for name, gates in VARIANTS.items():
        policy = Featured(task.start.clone()[None].requires_grad_(), task.features[:PROMPTS])
        shares: list[float] = []

        def watch(rollouts: Rollouts, prepared: Prepared, outputs: PolicyOutputs, shares: list[float] = shares) -> None:
            shares.append((prepared.weights[rollouts.extras["from_expert"]] > 0).any(-1).double().mean().item())

        halves = []
        for half, gate in enumerate(gates):
            halves.append(
                learn(
                    recipes.build("hpt", most_successes=gate, entropy=0.0, max_length=LONGEST),
                    policy,
                    task.environment,
                    [2 * seed + half],
                    steps=STEPS // 2,
                    group=GROUP,
                    learning_rate=LEARNING_RATE,
                    record=task.solved,
                    demonstrations=task.demonstrations,
                    watch=watch,
                    optimiser=torch.optim.Adam,
                )[0]
            )
        curve = np.concatenate([halves[0], halves[1][1:]])
        found |= {f"{name}: curve": curve[:, 0], f"{name}: others": curve[:, 1], f"{name}: shown": np.array(shares)}
    return found


def rule(numbers: Numbers) -> Verdict:
    """Reproduced where HPT ends above RL, SFT, and SFT before RL in P(right) of training prompts, each beyond doubt by
    the paired difference, and demonstrates fewer prompts in the last tenth of the run than in the first; partly where
    it ends above RL and above SFT beyond doubt, but not above SFT before RL.
    """
    above = {name: numbers["HPT"].above(numbers[name]) for name in VARIANTS if name != "HPT"}
    falls = numbers["shown, last tenth"].below(numbers["shown, first tenth"])
    if all(above.values()) and falls:
        return Verdict.REPRODUCED
    return Verdict.PARTLY if above["RL"] and above["SFT"] else Verdict.NOT_REPRODUCED


@experiment(
    claim="A switch on the prompt's own success rate beats fine-tuning, rollouts, and one after the other.",
    rule=rule,
    seeds=8,
)
def measure(seeds: Sequence[int]) -> Measured:
    """Train all variants."""
    runs = each_seed(one, seeds)
    ends = {name: runs[f"{name}: curve"][:, -20:].mean(-1) for name in VARIANTS}
    others = {name: runs[f"{name}: others"][:, -20:].mean(-1) for name in VARIANTS}
    shown, tenth = runs["HPT: shown"], STEPS // 10
    shares = {"shown, first tenth": shown[:, :tenth].mean(-1), "shown, last tenth": shown[:, -tenth:].mean(-1)}
    steps = np.arange(STEPS + 1)
    plots = (
        lines("Training prompts", "batch", "P(right)", steps, {name: runs[f"{name}: curve"] for name in VARIANTS}),
        lines("Prompts not trained on", "batch", "P(right)", steps,
              {name: runs[f"{name}: others"] for name in VARIANTS}),
        lines("HPT: prompts demonstrated", "batch", "share", steps[1:], {"HPT": shown}),
        bars("Training prompts, last 20 batches", "P(right)", ends),
    )  # fmt: skip
    return Measured({**ends, **{f"{name}, other prompts": found for name, found in others.items()}, **shares}, plots)
