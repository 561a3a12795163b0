"""Bradley-Terry training on 256 HH pairs, micro-batches of 8 pairs, beside TRL's RewardTrainer with its defaults.

A run takes 8 optimiser steps, 64 pairs of the 256 in an order of its own; four runs see about as much as an epoch.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

from prefopt.trainers.reward import RewardConfig, RewardTrainer
from reward_models.backbones import ensure_pad_token
from reward_models.heads import RewardHead
from reward_models.model import RewardModel
from scripts.bench.harness import Row, Sides
from scripts.bench.subjects import classifier, hh_pairs, one_after_another, tokenizer

PAIRS = 256
COMMON = {
    "per_device_train_batch_size": 8,
    "max_steps": 8,
    "save_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
    "logging_strategy": "no",
    "max_length": 1024,
    "learning_rate": 1e-5,
    "use_cpu": True,
}


def ours() -> Callable[[], Any]:
    """Runs of our trainer."""
    words = tokenizer()
    model = classifier(len(words))
    ensure_pad_token(words, model.model)
    reward = RewardModel(model.model, words, RewardHead(model.config.hidden_size), "last")

    def trainer(seed: int) -> Any:
        config = RewardConfig(output_dir=tempfile.mkdtemp(), centring=0.0, seed=seed, **COMMON)
        return RewardTrainer(reward, config, hh_pairs(PAIRS)).train

    return one_after_another(trainer)


def longest(words: Any, row: dict[str, str]) -> int:
    """Tokens of the pair's longer row: what the peer's grouping by length asks for."""
    return max(len(words(row["prompt"] + row[side])["input_ids"]) for side in ("chosen", "rejected"))


def trl(**settings: Any) -> Callable[[], Any]:
    """Runs of TRL's trainer."""
    from trl import RewardConfig as TRLConfig
    from trl import RewardTrainer as TRLTrainer

    words = tokenizer()
    model = classifier(len(words))
    pairs = hh_pairs(PAIRS).map(lambda row: {"length": longest(words, row)})

    def trainer(seed: int) -> Any:
        own = {"output_dir": tempfile.mkdtemp(), "bf16": False, "gradient_checkpointing": False, "seed": seed}
        config = TRLConfig(**(COMMON | own | settings))
        return TRLTrainer(model, args=config, train_dataset=pairs, processing_class=words).train

    return one_after_another(trainer)


def prepare() -> Sides:
    """Ours and TRL with its defaults."""
    return ours(), trl()


ROW = Row(
    name="reward_training",
    work="Bradley-Terry training, HH pairs, 6-layer width-384 Llama, micro-batches of 8 of 256 pairs",
    peer="trl",
    settings="RewardTrainer, defaults (float32, no checkpointing on either side)",
    prepare=prepare,
    memory=(ours, trl),
    reach=3.3,
    runs=2,
    warm_up=False,
    limit=4.0,
    limit_reason="tokens of the peer's padded rows over tokens that are needed",
)
