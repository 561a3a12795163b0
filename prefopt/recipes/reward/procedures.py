"""Reward models made in several steps."""

from __future__ import annotations

from collections.abc import Sequence

from prefopt.recipes.registry import recipe
from reward_models.multi_objective.armo import ArmoRM
from reward_models.multi_objective.attributes import STRENGTHS
from reward_models.multi_objective.gate import GateSettings
from reward_models.weight_average import WeightAverage


@recipe(
    kind="reward", card="01/2", confidence="A", arxiv="2406.12845",
    claim="Where the attribute that matters depends on the prompt, a gate beats a fixed average of attributes.",
)  # fmt: skip
def armo(
    attributes: Sequence[str] = (),
    verbosity: str | None = None,
    threshold: float = 0.03,
    strengths: Sequence[float] = STRENGTHS,
    held_out: float = 0.2,
    width: int = 1024,
    layers: int = 3,
    dropout: float = 0.2,
    temperature: float = 10.0,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.0,
    steps: int = 2000,
    batch_size: int = 1024,
    intercept: bool = False,
) -> ArmoRM:
    """Ridge regression gives a reward for each rated attribute; a gate that sees the prompt mixes them.

    ``intercept`` centres states and ratings before the regression, which helps where all answers' states have much in
    common, as an encoder's; the authors' code does not.
    """
    gate = GateSettings(width, layers, dropout, temperature, learning_rate, weight_decay, steps, batch_size)
    return ArmoRM(tuple(attributes), verbosity, threshold, tuple(strengths), gate, held_out, intercept=intercept)


@recipe(
    kind="reward", card="01/3", confidence="A", arxiv="2401.12187",
    claim="The average of several reward models' weights fits wrong labels less than one model or their ensemble.",
)  # fmt: skip
def warm(
    members: int = 4,
    best: int | None = None,
    learning_rates: Sequence[float] = (1e-5, 4e-5, 1e-4),
    dropouts: Sequence[float] = (0.05, 0.1),
    loss: str = "bradley_terry",
    probe_strength: float = 0.01,
    path_steps: int = 4,
    slack: float | None = None,
) -> WeightAverage:
    """The mean of several fine-tunings' weights, all from one pretrained start with one probed head."""
    return WeightAverage(
        members, best, tuple(learning_rates), tuple(dropouts), loss, probe_strength, path_steps, slack
    )  # fmt: skip
