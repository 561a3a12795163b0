"""Short answers that pay on open questions, and what that does to wrong answers where a program judges.

Three prompts share a policy that decides on a length (5, 10, 20, 40, 80 or 160 words, evenly at the start) and on
whether to make an effort (1 in 10 at the start): logits linear in a shared feature and one of each prompt, so that what
is learnt on one prompt carries over. Two prompts are verifiable: an answer is right with chance .15, and with effort in
40 words or more with chance .75 (the easy one) or .45 (the hard one). The third is open-ended: its score is a
similarity that ignores what an answer leaves out and finds short ones nearer to the reference, 1 - length / 200.
Nothing but that draws answers short.

Every step 16 answers a prompt, scored by the recipe (rule, similarity, P_max .5, tau 1, no format) and learnt from by
``dr_grpo`` with equal weights, step size 5, 300 steps; with the penalty and with P_max = 0. Length and accuracy are
those of the two verifiable prompts, exact at every step. The paper trains vision-language models and compares
benchmarks; the form of its penalty is a reconstruction.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from prefopt import recipes
from reward_models.verifiable import HybridReward
from scripts.claims.experiment import Measured, Verdict, experiment
from scripts.claims.numbers import Numbers, each_seed
from scripts.claims.plots import lines
from scripts.claims.toys import Featured, Scored, learn

WORDS = torch.tensor([5, 10, 20, 40, 80, 160])
NAMES = ("easy", "hard", "open")
WITH_EFFORT = torch.tensor([0.75, 0.45], dtype=torch.float64)
BASE, ENOUGH, FIRST_EFFORT = 0.15, 40, 0.1
STEPS, GROUP, RATE, NEVER = 300, 16, 5.0, -30.0
PENALTIES = {"with the penalty": 0.5, "without": 0.0}


def chances() -> Tensor:
    """``(2, 6, 2)``: chance to be right on each verifiable prompt, by length and effort."""
    able = (WORDS >= ENOUGH)[:, None] & torch.tensor([False, True])
    return torch.where(able, WITH_EFFORT[:, None, None], BASE)


def start() -> Featured:
    """Return the policy: token 1 is a length, token 2 an effort, told by the first two of six letters."""
    logits = torch.zeros(1, 1 + len(NAMES), 2, len(WORDS), dtype=torch.float64)
    logits[0, 0, 1, 2:] = NEVER
    logits[0, 0, 1, 1] = float(torch.logit(torch.tensor(FIRST_EFFORT, dtype=torch.float64)))
    features = torch.cat([torch.ones(len(NAMES), 1), torch.eye(len(NAMES))], 1).double()
    return Featured(logits.requires_grad_(), features)


def state(policy: Featured) -> Tensor:
    """``(3, 2)``: accuracy and mean length of wrong answers of the verifiable prompts; the third row is their mean."""
    lengths, efforts = policy.probabilities[:2, 0], policy.probabilities[:2, 1, :2]
    each = lengths[:, :, None] * efforts[:, None]
    wrong = each * (1 - chances())
    mean = (wrong.sum(-1) * WORDS).sum(-1) / wrong.sum((1, 2))
    found = torch.stack([(each * chances()).sum((1, 2)), mean], -1)
    return torch.cat([found, found.mean(0, keepdim=True)])


def said(words: int, right: bool | None) -> str:
    """An answer of so many words; its last one says whether it is right."""
    return " ".join(["word"] * (words - 1) + ["right" if right else "wrong"])


def verdicts(prompts: Sequence[str], completions: Sequence[str]) -> list[float | None]:
    """The rule."""
    return [
        None if prompt == "open" else float(text.endswith("right"))
        for prompt, text in zip(prompts, completions, strict=True)
    ]


def similarity(prompts: Sequence[str], completions: Sequence[str]) -> list[float]:
    """The score of open-ended prompts."""
    return [1 - len(text.split()) / 200 for text in completions]


def one(seed: int) -> dict[str, np.ndarray]:
    """Train with and without the penalty; curves of accuracy and of wrong answers' length."""
    found = {}
    for name, penalty in PENALTIES.items():
        reward = recipes.build("hybrid_reward", rule=verdicts, model=similarity, penalty=penalty)
        draw = torch.Generator().manual_seed(5000 + seed)

        def environment(actions: Tensor, reward: HybridReward = reward, draw: torch.Generator = draw) -> Scored:
            length, effort = actions.unbind(-1)
            chance = chances()[torch.arange(2)[:, None], length[:2], effort[:2]]
            right = torch.rand(chance.shape, generator=draw, dtype=torch.float64) < chance
            prompts = [name for name in NAMES for _ in range(GROUP)]
            told = [*right.flatten().tolist(), *[None] * GROUP]
            texts = [said(int(WORDS[one]), ok) for one, ok in zip(length.flatten().tolist(), told, strict=True)]
            rows = reward(prompts, texts, verifiable=[name != "open" for name in prompts])
            return Scored(torch.tensor(rows, dtype=torch.float64).unflatten(0, actions.shape[:2]))

        objective = recipes.build("dr_grpo")
        curves = learn(
            objective, start(), environment, [seed], steps=STEPS, group=GROUP, learning_rate=RATE, record=state
        )[0]
        found[f"accuracy, {name}"], found[f"length, {name}"] = curves[:, 0], curves[:, 1]
    return found


def rule(numbers: Numbers) -> Verdict:
    """Reproduced where wrong answers end beyond doubt shorter than half their length at the start without the penalty,
    with it beyond doubt longer than without it and not beyond doubt shorter than three quarters of the start, and where
    accuracy with it is not beyond doubt lower than without by .02; partly where they end beyond doubt longer with it
    than without it.
    """
    begin = numbers["wrong answers' words at the start"]
    with_it, without = (numbers[f"wrong answers' words, {name}"] for name in PENALTIES)

    def share(part: float) -> float:
        return part * begin.mean

    gap = numbers["accuracy, with the penalty"].minus(numbers["accuracy, without"])
    longer = with_it.above(without)
    if longer and without.below(share(0.5)) and not with_it.below(share(0.75)) and not gap.below(-0.02):
        return Verdict.REPRODUCED
    return Verdict.PARTLY if longer else Verdict.NOT_REPRODUCED


@experiment(
    claim="With a penalty on wrong answers that are too short their length stops falling, at no lower accuracy.",
    rule=rule,
    seeds=8,
)
def measure(seeds: Sequence[int]) -> Measured:
    """Train, read the policy exactly."""
    curves = each_seed(one, seeds)
    values = {"wrong answers' words at the start": curves["length, without"][:, 0]}
    for name in PENALTIES:
        values[f"wrong answers' words, {name}"] = curves[f"length, {name}"][:, -1]
        values[f"accuracy, {name}"] = curves[f"accuracy, {name}"][:, -1]
    plots = [
        lines(title, "step", label, np.arange(STEPS + 1), {name: curves[f"{key}, {name}"] for name in PENALTIES})
        for key, title, label in (
            ("length", "Wrong answers where a program judges", "mean words"),
            ("accuracy", "Right answers where a program judges", "P(right)"),
        )
    ]
    fallen = values["wrong answers' words, without"] / values["wrong answers' words at the start"]
    note = (
        f"Without the penalty wrong answers end {fallen.mean():.2f} times as long as at the start, on the mean of "
        f"{len(seeds)} seeds: there is {'a' if fallen.mean() < 0.75 else 'no'} fall to stop."
    )
    return Measured(values, plots, (note,))
