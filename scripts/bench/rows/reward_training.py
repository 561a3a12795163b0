"""Bradley-Terry training on 256 HH pairs, micro-batches of 8 pairs, beside TRL's RewardTrainer with its defaults."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

from prefopt.trainers.reward import RewardConfig, RewardTrainer
from reward_models.backbones import ensure_pad_token
from reward_models.heads import RewardHead
from reward_models.model import RewardModel
from scripts.bench.harness import Row, Sides
from scripts.bench.subjects import classifier, hh_pairs, tokenizer

PAIRS = 256
COMMON = {
    "per_device_train_batch_size": 8,
    "num_train_epochs": 1,
    "save_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
    "logging_strategy": "no",
    "max_length": 1024,
    "learning_rate": 1e-5,
    "use_cpu": True,
}


def ours() -> Callable[[], Any]:
    """One epoch with our trainer."""
    words = tokenizer()
    model = classifier(len(words))
    ensure_pad_token(words, model.model)
    reward = RewardModel(model.model, words, RewardHead(model.config.hidden_size), "last")
    trainer = RewardTrainer(
        reward, RewardConfig(output_dir=tempfile.mkdtemp(), centring=0.0, **COMMON), hh_pairs(PAIRS)
    )
    return trainer.train


def trl(**settings: Any) -> Callable[[], Any]:
    """One epoch with TRL's trainer."""
    from trl import RewardConfig as TRLConfig
    from trl import RewardTrainer as TRLTrainer

    words = tokenizer()
    config = TRLConfig(output_dir=tempfile.mkdtemp(), bf16=False, gradient_checkpointing=False, **(COMMON | settings))
    trainer = TRLTrainer(classifier(len(words)), args=config, train_dataset=hh_pairs(PAIRS), processing_class=words)
    return trainer.train


def prepare() -> Sides:
    """Ours and TRL with its defaults."""
    return ours(), trl()


ROW = Row(
    name="reward_training",
    work="Bradley-Terry training, 256 HH pairs, 6-layer width-384 Llama, micro-batch of 8 pairs, one epoch",
    peer="trl",
    settings="RewardTrainer, defaults (float32, no checkpointing on either side)",
    prepare=prepare,
    reach=3.3,
    limit=4.0,
    limit_reason="padded tokens of the peer over useful tokens",
)
