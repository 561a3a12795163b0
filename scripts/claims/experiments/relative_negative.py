"""Learning from relative negatives alone: what becomes of pass@k.

A hundred prompts a seed with twenty answers each, a table of logits that starts at N(0, 1); 8 completions a prompt, 600
batches. Two problems. Binary: three answers are right, reward 1. Graded, which the paper's theory assumes: one answer
is right, reward 1, and rare (its logit starts two lower); three more are half right, reward 1/2, and do not count as
solved. pass@k is exact, the mean over prompts of 1 - (1 - P(right))^k; coverage is the expected number of different
right answers in 64 draws.

The paper speaks of one theorem about logits and of language models in mathematics; its theorem is on such a table.
Beside it: GRPO, and W-REINFORCE without its entropy bonus, whose threshold counts half right as wrong.

Why pass@256 falls on the graded problem with GRPO-N too: a push down on a sampled answer raises the logit of each other
answer in proportion to that answer's own probability, so that among the answers that are not sampled the common ones,
here half right, gain on the rare right one. What negatives alone keep is entropy, and more different right answers
where several are common enough to be sampled.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from prefopt import recipes
from scripts.claims.experiment import Measured, Verdict, experiment
from scripts.claims.numbers import Numbers
from scripts.claims.plots import lines
from scripts.claims.toys import Scored, Softmax, Streams, learn

PROMPTS, ANSWERS, GROUP, STEPS, LEARNING_RATE = 100, 20, 8, 600, 0.3
POWERS = tuple(2**n for n in range(9))
PROBLEMS = {"binary": ((1.0, 1.0, 1.0), 0.0), "graded": ((1.0, 0.5, 0.5, 0.5), -2.0)}
FOLLOWED = {"binary": ("different right answers in 64 draws", -2), "graded": ("pass@256", len(POWERS) - 1)}
VARIANTS = {"GRPO": ("grpo", {}), "GRPO-N": ("relative_negative", {}), "W-REINFORCE": ("w_reinforce", {"entropy": 0.0})}


def start(seeds: Sequence[int], lower: float) -> Softmax:
    """Logits N(0, 1), the first answer's changed by ``lower``; those of a seed do not depend on the others."""
    uniform = Streams([1000 + seed for seed in seeds]).uniform(PROMPTS, 1, ANSWERS).flatten(0, 1)
    logits = torch.special.ndtri(uniform.clamp(1e-9, 1 - 1e-9))
    logits[..., 0] += lower
    return Softmax(logits.requires_grad_())


def look(policy: Softmax, right: Tensor) -> Tensor:
    """pass@k for each k, coverage and entropy, ``(contexts, K + 2)``."""
    chance = policy.probabilities[:, 0]
    solved = (chance * right).sum(-1)
    passes = [1 - (1 - solved) ** k for k in POWERS]
    coverage = ((1 - (1 - chance) ** 64) * right).sum(-1)
    return torch.stack([*passes, coverage, torch.special.entr(chance).sum(-1)], -1)


def rule(numbers: Numbers) -> Verdict:
    """Reproduced where, on the graded problem, pass@256 of GRPO ends below its start and that of GRPO-N does not, each
    beyond doubt, and where on both problems GRPO-N ends above GRPO in pass@256 (graded) and coverage (binary) but
    below it in pass@1 (slower); partly where GRPO-N keeps more of pass@256 and of coverage than GRPO beyond doubt, but
    another of these fails.
    """
    wide, narrow = numbers["graded, pass@256: GRPO-N"], numbers["graded, pass@256: GRPO"]
    begun = numbers["graded, pass@256: start"]
    keeps = wide.above(narrow) and numbers["binary, coverage: GRPO-N"].above(numbers["binary, coverage: GRPO"])
    if not keeps:
        return Verdict.NOT_REPRODUCED
    falls = narrow.below(begun) and not wide.below(begun)
    slower = all(numbers[f"{p}, pass@1: GRPO-N"].below(numbers[f"{p}, pass@1: GRPO"]) for p in PROBLEMS)
    return Verdict.REPRODUCED if falls and slower else Verdict.PARTLY


@experiment(
    claim="Learning from negatives alone is slower than from both signs, but pass@k for large k does not fall.",
    rule=rule,
    seeds=10,
)
def measure(seeds: Sequence[int]) -> Measured:
    """Train each variant on both problems."""
    values: dict[str, np.ndarray] = {}
    plots = []
    for problem, (rewards, lower) in PROBLEMS.items():
        worth = torch.zeros(ANSWERS, dtype=torch.float64)
        worth[: len(rewards)] = torch.tensor(rewards)
        right = (worth == 1).double()
        curves = {}
        for name, (recipe, settings) in VARIANTS.items():
            curves[name] = learn(
                recipes.build(recipe, **settings),
                start(seeds, lower),
                lambda actions, worth=worth: Scored(worth[actions[..., 0]]),
                seeds,
                steps=STEPS,
                group=GROUP,
                learning_rate=LEARNING_RATE * PROMPTS,
                record=lambda policy, right=right: look(policy, right),
            )
        ends = {"start": curves["GRPO"][:, 0]} | {name: curve[:, -1] for name, curve in curves.items()}
        for name, found in ends.items():
            values[f"{problem}, pass@1: {name}"] = found[:, 0]
            values[f"{problem}, pass@256: {name}"] = found[:, len(POWERS) - 1]
            values[f"{problem}, coverage: {name}"] = found[:, -2]
            values[f"{problem}, entropy: {name}"] = found[:, -1]
        title = f"{problem.capitalize()} rewards, after {STEPS} batches"
        passes = {name: found[:, : len(POWERS)] for name, found in ends.items()}
        plots.append(lines(title, "k", "pass@k", POWERS, passes, x_scale="log"))
        label, place = FOLLOWED[problem]
        followed = {name: curve[..., place] for name, curve in curves.items()}
        plots.append(lines(f"{problem.capitalize()} rewards", "batch", label, np.arange(STEPS + 1), followed))
    return Measured(values, tuple(plots))
