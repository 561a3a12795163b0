"""GVPO's optimum from completions of any sampler.

Bandits of six arms, one a seed: rewards and the anchor's logits are standard normal, beta = .5. The optimum of reward
less beta times the KL from the anchor is known: anchor times exp(r / beta), normalised. The policy starts at the
anchor, which stays; groups of eight, 1,500 steps. Samplers: the policy itself; a uniform one; one that never draws the
last two arms. Nobody corrects for the sampler. Beside it two ways to the same optimum on-policy, from uniform samples:
REINFORCE with the KL inside the reward, and Dr. GRPO's advantage with the KL estimate k3 as a penalty.

Asked: KL from the learnt policy to the optimum at the end. At the optimum GVPO's residual is 0 for every group, so
nothing is left of the sampling noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from prefopt import recipes
from scripts.claims.experiment import Measured, Verdict, experiment
from scripts.claims.numbers import Numbers
from scripts.claims.plots import bars, lines
from scripts.claims.toys import Scored, Softmax, Streams, learn

ARMS, BETA, GROUP, STEPS = 6, 0.5, 8, 1500
OWN, UNIFORM, PARTIAL = "GVPO, own samples", "GVPO, uniform samples", "GVPO, two arms never drawn"
IN_REWARD, PENALTY = "KL in the reward, uniform samples", "KL penalty, uniform samples"
SMALL = 1e-3


def fixed_sampler(never: int = 0) -> Callable[[Softmax], Softmax]:
    """Return a sampler that draws evenly from all arms but the last ``never``."""
    logits = torch.zeros(ARMS, dtype=torch.float64)
    logits[ARMS - never :] = -torch.inf
    return lambda policy: Softmax(logits.expand(len(policy.logits), 1, ARMS))


def rule(numbers: Numbers) -> Verdict:
    """Reproduced where GVPO's KL to the optimum is below .001 beyond doubt from its own samples and from uniform ones,
    and from uniform ones below that of both policy gradients; partly where only the first holds.
    """
    there = all(numbers[name].below(SMALL) for name in (OWN, UNIFORM))
    nearer = all(numbers[UNIFORM].below(numbers[other]) for other in (IN_REWARD, PENALTY))
    if there and nearer:
        return Verdict.REPRODUCED
    return Verdict.PARTLY if there else Verdict.NOT_REPRODUCED


@experiment(
    claim="GVPO converges to the optimum of the KL-regularised reward from its own samples and from those of another "
    "sampler, where policy gradients without importance weights do not.",
    rule=rule,
    seeds=20,
)
def measure(seeds: Sequence[int]) -> Measured:
    """Train from each sampler; compare with the known optimum."""
    uniform = Streams(seeds).uniform(2, ARMS).clamp(1e-9)
    rewards, anchor = torch.special.ndtri(uniform).unbind(1)
    optimum = (anchor + rewards / BETA).log_softmax(-1)

    def environment(arms: Tensor) -> Scored:
        return Scored(rewards.gather(1, arms[..., 0]))

    def distance(policy: Softmax) -> Tensor:
        found = policy.logits.detach()[:, 0].log_softmax(-1)
        return (found.exp() * (found - optimum)).sum(-1)

    gvpo = recipes.build("gvpo", beta=BETA, anchor="reference")
    in_reward = recipes.build("reinforce", adjust=recipes.build("reinforce_pp", beta=BETA).adjust[:1])
    penalty = recipes.build("dr_grpo", beta=BETA)
    runs = {
        OWN: (gvpo, None, 4.0),
        UNIFORM: (gvpo, fixed_sampler(), 4.0),
        PARTIAL: (gvpo, fixed_sampler(2), 4.0),
        IN_REWARD: (in_reward, fixed_sampler(), 0.1),
        PENALTY: (penalty, fixed_sampler(), 0.1),
    }
    curves = {}
    for name, (objective, sampler, rate) in runs.items():
        policy = Softmax(anchor[:, None].clone().requires_grad_())
        curves[name] = learn(
            objective, policy, environment, seeds, steps=STEPS, group=GROUP, learning_rate=rate,
            record=distance, sampler=sampler,
        )  # fmt: skip
    final = {name: curve[:, -1] for name, curve in curves.items()}
    note = (
        "An arm that the sampler never draws keeps its logit: GVPO then reaches the optimum among the others only. "
        "The paper's condition, that samples cover the anchor's support, is needed."
    )
    floor = {name: np.maximum(curve, 1e-12) for name, curve in curves.items()}
    plots = (
        lines("Distance to the optimum", "step", "KL(policy || optimum)", np.arange(STEPS + 1), floor, y_scale="log"),
        bars("KL(policy || optimum) at the end", "nats", final),
    )
    return Measured(final, plots, (note,))
