"""CANON: a metric that goes with the reward is amplified, whichever its direction.

A completion chooses a style by its first token; its length is 2, plus 1 in the second style, plus 1 by the toss of a
coin. Length is the metric. A style succeeds with .6 or .4. Three worlds: the long style is the better one; the short
one is; the styles differ in length as before but succeed alike. Groups of sixteen, eight prompts a seed, 60 steps of
the same size. Compared: the baseline of the other half (inter = 1), of the own half (0), and both evenly, which is Dr.
GRPO.

Asked: P(better style) at the end; where the styles succeed alike, how far P(style) has strayed from 1/2.

Found: the other half's baseline also strays further where the styles succeed alike (.113 from 1/2, Dr. GRPO .087).
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
from scripts.claims.toys import Decisions, Scored, Streams, learn

PROMPTS, GROUP, STEPS, LEARNING_RATE, PLACES = 8, 16, 60, 8.0, 4
WORLDS = {"long is better": (0.4, 0.6), "short is better": (0.6, 0.4), "both alike": (0.5, 0.5)}
METHODS = {"other half": 1.0, "own half": 0.0, "Dr. GRPO": 0.5}


def rule(numbers: Numbers) -> Verdict:
    """Reproduced where the baseline of the other half reaches a higher P(better style) than Dr. GRPO both where long
    and where short is better, beyond doubt; partly where it does in one of the two.
    """
    worlds = list(WORLDS)[:2]
    higher = [numbers[f"other half, {world}"].above(numbers[f"Dr. GRPO, {world}"]) for world in worlds]
    return (Verdict.NOT_REPRODUCED, Verdict.PARTLY, Verdict.REPRODUCED)[sum(higher)]


@experiment(
    claim="CANON amplifies a metric that goes with the reward, without being told in which direction.",
    rule=rule,
    seeds=20,
)
def measure(seeds: Sequence[int]) -> Measured:
    """Train each method in each world."""
    values, curves = {}, {}
    for world, rates in WORLDS.items():
        chance = torch.tensor(rates, dtype=torch.float64)
        for method, inter in METHODS.items():
            streams = Streams([seed + 10_000 for seed in seeds])

            def environment(actions: Tensor, streams: Streams = streams, chance: Tensor = chance) -> Scored:
                style = actions[..., 0]
                luck, coin = streams.uniform(PROMPTS, GROUP, 2).flatten(0, 1).unbind(-1)
                length = 2 + style + (coin < 0.5)
                return Scored((luck < chance[style]).double(), mask=torch.arange(PLACES) < length[..., None])

            curve = learn(
                recipes.build("canon", metric="length", inter=inter, max_length=PLACES),
                Decisions.of([0.5] * PLACES, len(seeds) * PROMPTS), environment, seeds, steps=STEPS, group=GROUP,
                learning_rate=LEARNING_RATE * PLACES,
                record=lambda one: torch.stack([one.probabilities[:, 0], (one.probabilities[:, 0] - 0.5).abs()], -1),
            )  # fmt: skip
            better = curve[..., 0] if rates[1] > rates[0] else 1 - curve[..., 0]
            shown = curve[..., 1] if world == "both alike" else better
            values[f"{method}, {world}"] = shown[:, -1]
            if world != "both alike":
                curves[f"{method}, {world}"] = shown
    plots = (
        lines("The better style", "step", "P(better style)", np.arange(STEPS + 1), curves, level=0.5),
        bars("After 60 steps", "P(better style), or distance from 1/2 where both are alike", values),
    )
    return Measured(values, plots)
