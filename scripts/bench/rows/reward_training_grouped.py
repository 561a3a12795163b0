"""Bradley-Terry training on HH pairs beside TRL's RewardTrainer grouped by length."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from scripts.bench.harness import Sides
from scripts.bench.rows import reward_training


def prepare() -> Sides:
    """Ours and TRL grouped by length."""
    return reward_training.ours(), reward_training.trl(grouped=True)


ROW = replace(
    reward_training.ROW,
    name="reward_training_grouped",
    settings="RewardTrainer with transformers' LengthGroupedSampler",
    prepare=prepare,
    threads=(1,),
    reach=1.5,
    counts=partial(reward_training.counts, grouped=True),
    memory=(reward_training.ours, partial(reward_training.trl, grouped=True)),
)
