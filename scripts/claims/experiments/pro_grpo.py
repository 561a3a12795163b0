"""ProGRPO and the diversity of right answers.

A bandit of eight arms, one prompt a seed. Three arms are right, with unequal chances at the start (logits 1, 0, -1),
five are wrong (logits 0); groups of eight, 400 steps. Prompts are no part of a bandit, so their confidence is given:
.4, and beside it .1 and .9, as the definition of the prompt's confidence is a reconstruction. In a group without a
wrong answer the advantages are 0 and the term acts alone, against the confident: that keeps the arms apart. Asked at
the end: entropy within the right answers (log 3 = 1.10 at most), P(right), and pass@8 where each of the three right
arms is the only one that a third of the users accept.

Found: 15 of 20 runs still end with one right arm; the mean rises as five keep two. The value given as the prompt's
confidence hardly matters, as a constant that is added to all advantages of a group has no expected gradient.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from prefopt import recipes
from scripts.claims.experiment import Measured, Verdict, experiment
from scripts.claims.numbers import Numbers
from scripts.claims.plots import bars, lines
from scripts.claims.toys import Scored, Softmax, learn

LOGITS = (1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0)
RIGHT, GROUP, STEPS, LEARNING_RATE = 3, 8, 400, 0.5
CONFIDENCE = {"GRPO": None, "ProGRPO": 0.4, "ProGRPO, unsure prompt": 0.1, "ProGRPO, sure prompt": 0.9}


def figures(policy: Softmax) -> Tensor:
    """Return ``(contexts, 3)``: entropy within the right answers, P(right), pass@8 of the three in turn."""
    right = policy.probabilities[:, 0, :RIGHT]
    total = right.sum(-1)
    entropy = torch.special.entr(right / total[:, None]).sum(-1)
    return torch.stack([entropy, total, (1 - (1 - right) ** GROUP).mean(-1)], -1)


def rule(numbers: Numbers) -> Verdict:
    """Reproduced where ProGRPO's entropy within the right answers and its pass@8 are above GRPO's beyond doubt and its
    P(right) is at most .01 lower (not below GRPO's less .01 beyond doubt); partly where entropy is above but not both
    others hold.
    """
    diverse = numbers["entropy, ProGRPO"].above(numbers["entropy, GRPO"])
    covers = numbers["pass@8, ProGRPO"].above(numbers["pass@8, GRPO"])
    lost = numbers["P(right), GRPO"].minus(numbers["P(right), ProGRPO"]).above(0.01)
    if diverse and covers and not lost:
        return Verdict.REPRODUCED
    return Verdict.PARTLY if diverse else Verdict.NOT_REPRODUCED


@experiment(
    claim="ProGRPO keeps several right answers alive, so that diversity and pass@k rise, at about the same pass@1.",
    rule=rule,
    seeds=20,
)
def measure(seeds: Sequence[int]) -> Measured:
    """Train with and without the confidence term."""
    curves = {}
    for name, confidence in CONFIDENCE.items():

        def environment(arms: Tensor, confidence: float | None = confidence) -> Scored:
            prompt = torch.full((*arms.shape[:2], 1), np.log(confidence or 1.0), dtype=torch.float64)
            extras = {"prompt_logps": prompt, "prompt_mask": torch.ones_like(prompt, dtype=torch.bool)}
            return Scored((arms[..., 0] < RIGHT).double(), extras)

        objective = recipes.build("pro_grpo", **({"alpha": 0.0} if confidence is None else {}))
        curves[name] = learn(
            objective, Softmax.of(LOGITS, len(seeds)), environment, seeds, steps=STEPS, group=GROUP,
            learning_rate=LEARNING_RATE, record=figures,
        )  # fmt: skip
    values = {
        f"{figure}, {name}": curve[:, -1, place]
        for place, figure in enumerate(("entropy", "P(right)", "pass@8"))
        for name, curve in curves.items()
    }
    plots = (
        lines("Diversity of right answers", "step", "entropy within them, nats", np.arange(STEPS + 1),
              {name: curve[..., 0] for name, curve in curves.items()}),
        lines("Accuracy", "step", "P(right)", np.arange(STEPS + 1),
              {name: curve[..., 1] for name, curve in curves.items()}),
        bars("pass@8 of a user who accepts one", "", {name: curve[:, -1, 2] for name, curve in curves.items()}),
    )  # fmt: skip
    return Measured(values, plots)
