"""Bradley-Terry training on 256 HH pairs beside TRL's RewardTrainer grouped by length."""

from __future__ import annotations

from dataclasses import replace

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
    limit=None,
    limit_reason="",
)
