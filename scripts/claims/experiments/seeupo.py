"""SeeUPO where two turns must not do the same.

Two turns, one yes/no decision each, both yes with probability .4 at the start; reward 1 if they differ. The best move
of a turn depends on what the other one does, so that turns that learn at once may both cross over and lose what they
had. 64 conversations a batch, step size 8, 40 batches; the expected reward is exact. Asked: how much of it is lost,
summed over all batches after which it fell.

Where only one pair of actions pays, no turn's best move depends on the other's, and in a trial with five seeds no
variant lost anything at this step size: such a problem does not tell them apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from scripts.claims.experiment import Measured, Verdict, experiment
from scripts.claims.numbers import Numbers
from scripts.claims.plots import bars, lines
from scripts.claims.toys import Decisions
from scripts.claims.turn_toys import learn_turns

VARIANTS = {
    "last turn first": {"order": "last first"},
    "first turn first": {"order": "first first"},
    "last first, no correction": {"order": "last first", "corrected": False},
    "all at once": {"order": "all at once"},
}


def differ(actions: Tensor) -> Tensor:
    """Reward of actions ``(G, 2)``."""
    return (actions[:, 0] != actions[:, 1]).double()


def expected(probabilities: Tensor) -> float:
    """P(the two differ)."""
    first, second = probabilities.tolist()
    return first * (1 - second) + second * (1 - first)


def rule(numbers: Numbers) -> Verdict:
    """Reproduced where passes from the last turn to the first lose less than learning all turns at once, than without
    the correction and than passes in the other order, each beyond doubt by the paired difference; partly where they
    lose less than learning all at once, but the order or the correction makes no difference beyond doubt.
    """
    ours = numbers["last turn first"]
    if not ours.below(numbers["all at once"]):
        return Verdict.NOT_REPRODUCED
    others = ("first turn first", "last first, no correction")
    return Verdict.REPRODUCED if all(ours.below(numbers[name]) for name in others) else Verdict.PARTLY


@experiment(
    claim="Updating turns from last to first improves monotonically; at once, or in the other order, reward is lost.",
    rule=rule,
    seeds=60,
)
def measure(seeds: Sequence[int]) -> Measured:
    """Train each variant; add up what is lost."""
    curves = {
        name: np.stack(
            [
                learn_turns(
                    Decisions.of((0.4, 0.4)), differ, expected, seed, steps=40, group=64, learning_rate=8.0, **settings
                )
                for seed in seeds
            ]
        )
        for name, settings in VARIANTS.items()
    }
    lost = {name: -np.minimum(np.diff(curve, axis=1), 0).sum(1) for name, curve in curves.items()}
    falls = {name: (np.diff(curve, axis=1) < -1e-9).mean() for name, curve in curves.items()}
    note = "Share of batches after which the reward fell: " + ", ".join(
        f"{k} {100 * v:.1f} %" for k, v in falls.items()
    )
    second = "Neither turn sees the other's action here, so that the order of the passes is a name."
    plots = (
        lines("Two turns that must differ", "batch", "expected reward", np.arange(41), curves),
        bars("Reward lost over 40 batches", "reward", lost),
    )
    return Measured(lost, plots, (note + ".", second))
