"""One preference between the rewards for each group of completions, written into their prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from prefopt.errors import UserError
from prefopt.online.method import OnlineMethod
from prefopt.trainers.preference_prompt import PreferencePrompt, in_hundredths
from prefopt.trainers.rewards.source import RewardSource
from prefopt.weighting.preference_conditioned import PreferenceConditioned

if TYPE_CHECKING:
    from prefopt.trainers.online_trainer import OnlineTrainer

NAME = "preference"


class Preferences:
    """Draws weights for each prompt of a generation batch and writes them into it.

    They depend on the seed and the number of the generation batch alone, so that processes and resumed runs agree.
    Rounded to two decimals, they are what the weighting pays by. In evaluation all rewards weigh the same. Reward
    sources are given the prompt as it was.

    Attributes:
        plain: the prompts of this process's rows without weights, after a draw.
        extras: inputs of those rows.
    """

    def __init__(self, trainer: OnlineTrainer, form: PreferencePrompt) -> None:
        self.trainer, self.form = trainer, form
        self.plain: list[Any] = []
        self.extras: dict[str, Tensor] = {}

    def __call__(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the rows with weights in their prompts."""
        trainer, sources = self.trainer, len(self.form.rewards)
        group, first = trainer.group_size, trainer.accelerator.process_index * len(rows)
        groups = len(rows) * trainer.accelerator.num_processes // group
        drawn = np.full((groups, sources), 1 / sources)
        weighting = trainer.objective.weighting
        if trainer.mode == "train" and isinstance(weighting, PreferenceConditioned):
            random = np.random.default_rng([trainer.data_seed, trainer.generation])
            drawn = random.dirichlet(np.full(sources, weighting.alpha), groups)
        shares = [in_hundredths(one) for one in drawn.tolist()]
        own = [shares[(first + i) // group] for i in range(len(rows))]
        self.plain = [row["prompt"] for row in rows]
        self.extras = {NAME: torch.tensor(own)}
        written = (self.form.written(*pair) for pair in zip(self.plain, own, strict=True))
        return [{**row, "prompt": prompt} for row, prompt in zip(rows, written, strict=True)]


def longest_writing(objective: OnlineMethod, sources: Sequence[RewardSource], template: str) -> Callable[[Any], Any]:
    """Return what becomes of a prompt: with weights of the usual length where it is told them, else as it is."""
    if NAME not in objective.needs:
        return lambda prompt: prompt
    names = tuple(name for source in sources for name in source.names)
    form = PreferencePrompt(names, template)
    return lambda prompt: form.written(prompt, [0.99] * len(names))


def check_preferences(objective: OnlineMethod, template: str) -> None:
    """Raise ``UserError`` for a template without its places, and for the control that no trainer draws."""
    if NAME in objective.needs:
        PreferencePrompt((), template)
    weighting = objective.weighting
    if isinstance(weighting, PreferenceConditioned) and weighting.per_rollout:
        raise UserError(
            "per_rollout is a control for experiments: completions of a group answer one prompt here, and share its "
            "weights; leave it out"
        )
