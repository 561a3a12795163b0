"""Masked importance sampling where the sampling engine is far off.

The problem of the experiment of TIS, with the sampler's weights rounded to three levels, -1, 0 and 1 times one scale,
and 600 batches: a mismatch far beyond that of FP8, as a collapse is asked for. Uncorrected GRPO beside masks on whole
sequences (weights outside 0.5 to 2 count nothing), on tokens, and on sequences with TRL's bounds of 0 to 3.

Asked: whether the uncorrected run collapses, that is, whether it ends below its own best average over 30 batches, and
whether the mask prevents it. The figures are the expected reward of the exact policy; beside them, which the rule does
not read, the share of tokens that count, and the same runs with the sampler of seven levels.

No run collapses, and the masks cost more than they bring: a bias of the sampler slows a policy with few parameters, and
what is masked slows it further. Collapse as it is reported of large models needs something that is not here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from prefopt.batch import PolicyOutputs, Prepared, Rollouts
from scripts.claims.experiment import Measured, Verdict, experiment
from scripts.claims.experiments.tis import Variant, train
from scripts.claims.numbers import Numbers
from scripts.claims.plots import bars, lines

STEPS, LEVELS, MILD, WINDOW = 600, 1, 3, 30
VARIANTS: dict[str, Variant] = {
    "exact sampler": ("grpo", {}, False),
    "uncorrected": ("grpo", {}, True),
    "MIS, sequence": ("mis", {}, True),
    "MIS, sequence, to 3": ("mis", {"low": 0.0, "high": 3.0}, True),
    "MIS, token": ("mis", {"level": "token"}, True),
}


def kept_tokens(shares: list[np.ndarray], seeds: int) -> Callable[[Rollouts, Prepared, PolicyOutputs], None]:
    """Return a watch that appends the share of tokens with a weight, ``(seeds,)``."""

    def watch(rollouts: Rollouts, prepared: Prepared, outputs: PolicyOutputs) -> None:
        shares.append((prepared.weights > 0).double().view(seeds, -1).mean(-1).numpy())

    return watch


def rule(numbers: Numbers) -> Verdict:
    """Reproduced where the uncorrected run ends more than .05 of expected reward below its own best, beyond doubt, and
    MIS on sequences loses less of its best and ends above the uncorrected run, each beyond doubt by the paired
    difference; partly where MIS on sequences ends above the uncorrected run, but that one does not collapse.
    """
    sequence, plain = numbers["MIS, sequence"], numbers["uncorrected"]
    if not sequence.above(plain):
        return Verdict.NOT_REPRODUCED
    lost = numbers["uncorrected, lost"]
    prevented = lost.above(0.05) and numbers["MIS, sequence, lost"].below(lost)
    return Verdict.REPRODUCED if prevented else Verdict.PARTLY


@experiment(
    claim="Leaving out what trainer and sampler disagree on prevents collapse under their mismatch.",
    rule=rule,
    seeds=10,
)
def measure(seeds: Sequence[int]) -> Measured:
    """Train each variant with a sampler of three levels."""
    curves, kept, mild = {}, {}, {}
    for name, variant in VARIANTS.items():
        shares: list[np.ndarray] = []
        curves[name] = train(variant, LEVELS, seeds, STEPS, kept_tokens(shares, len(seeds)))
        kept[name] = np.stack(shares).mean(0)
        mild[name] = train(variant, MILD, seeds, STEPS)[:, -WINDOW:].mean(-1)
    averages = {
        name: np.lib.stride_tricks.sliding_window_view(curve, WINDOW, -1).mean(-1) for name, curve in curves.items()
    }
    ends = {name: average[:, -1] for name, average in averages.items()}
    lost = {f"{name}, lost": average.max(-1) - average[:, -1] for name, average in averages.items()}
    plots = (
        lines("A sampler of three levels", "batch", "expected reward, exact policy", np.arange(STEPS + 1), curves),
        bars("Three levels, last 30 batches", "expected reward", ends),
        bars("Seven levels, last 30 batches", "expected reward", mild),
        bars("Tokens that count, three levels", "share of tokens", kept),
    )
    others = {f"{name}, seven levels": found for name, found in mild.items()}
    others |= {f"{name}, tokens that count": found for name, found in kept.items()}
    return Measured({**ends, **lost, **others}, plots)
