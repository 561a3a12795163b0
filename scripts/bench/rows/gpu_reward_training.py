"""Bradley-Terry training on a GPU beside TRL's RewardTrainer with SDPA or, where it is installed, FlashAttention."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, LlamaConfig

from reward_models.heads import RewardHead
from reward_models.model import RewardModel
from scripts.bench.flops import TRAINING, needed, padded_rows
from scripts.bench.gpu import Load, figures, forest, pairs, peer_attention, skip, words
from scripts.bench.harness import Counts, Row, Sides

LOAD = Load(forest(64, 2, (128, 768), (64, 384)), together=16)


def common(load: Load) -> dict[str, Any]:
    """Settings of both trainers: one epoch is a run."""
    return load.arguments | {
        "output_dir": tempfile.mkdtemp(),
        "per_device_train_batch_size": load.together,
        "num_train_epochs": 1,
        "logging_strategy": "no",
        "gradient_checkpointing": False,
        "max_length": load.longest(),
        "learning_rate": 1e-6,
    }


def ours(load: Load) -> Callable[[], Any]:
    """One epoch with our trainer, the attention chosen automatically."""
    from prefopt.trainers.reward import RewardConfig, RewardTrainer

    model = RewardModel(load.backbone(), words(), RewardHead(load.config.hidden_size), "last").to(load.device)
    config = RewardConfig(centring=0.0, **common(load))
    return RewardTrainer(model, config, pairs(load.trees)).train


def trl(load: Load) -> Callable[[], Any]:
    """One epoch with TRL's."""
    from trl import RewardConfig, RewardTrainer

    torch.manual_seed(0)
    shape = LlamaConfig(**load.config.to_dict() | {"num_labels": 1})
    with torch.device(load.device):
        model = AutoModelForSequenceClassification.from_config(
            shape, dtype=load.dtype, attn_implementation=peer_attention()
        )
    config = RewardConfig(**common(load))
    return RewardTrainer(model, args=config, train_dataset=pairs(load.trees), processing_class=words()).train


def sides(load: Load) -> Sides:
    """Ours and TRL."""
    return ours(load), trl(load)


def counts(load: Load) -> Counts:
    """Operations; pairs in the order given stand for shuffled ones, and ours are packed without padding."""
    rows = load.row_lengths()
    longest = [length for at in range(0, len(rows), 2) for length in [max(rows[at : at + 2])] * 2]
    theirs = TRAINING * padded_rows(longest, 2 * load.together, head=False).operations(load.config)
    least = TRAINING * needed(load.trees, head=False).operations(load.config)
    return Counts(theirs, least, least)


ROW = Row(
    name="gpu_reward_training",
    work="Bradley-Terry training, 64 pairs, prompts of 128 to 768 tokens, responses of 64 to 384, micro-batches of 16, "
    "1.2B Llama, bfloat16",
    peer="trl",
    settings=f"RewardTrainer, defaults, {peer_attention()} (no checkpointing on either side)",
    prepare=partial(sides, LOAD),
    reach=2.0,
    threads=(8,),
    counts=partial(counts, LOAD),
    limit_reason="operations of the peer's padded rows over those of each distinct prompt and response once",
    skip=skip("trl", "datasets", "accelerate"),
    figures=lambda measured, device: figures(LOAD, counts(LOAD), measured, device),
)
