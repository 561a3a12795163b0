"""Bradley-Terry training on HH pairs, micro-batches of 8 pairs, beside TRL's RewardTrainer with its defaults.

A run is one epoch over the same pairs on both sides, each in an order of its own.
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

PAIRS = 128
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
    """Runs of our trainer."""
    words = tokenizer()
    model = classifier(len(words))
    ensure_pad_token(words, model.model)
    reward = RewardModel(model.model, words, RewardHead(model.config.hidden_size), "last")

    def run(seed: int) -> Any:
        config = RewardConfig(output_dir=tempfile.mkdtemp(), centring=0.0, seed=seed, **COMMON)
        return RewardTrainer(reward, config, hh_pairs(PAIRS)).train

    return one_after_another(run, runs=2)


def trl(grouped: bool = False) -> Callable[[], Any]:
    """Runs of TRL's trainer, with its defaults or with rows grouped by length."""
    from transformers.trainer_pt_utils import LengthGroupedSampler
    from trl import RewardConfig as TRLConfig
    from trl import RewardTrainer as TRLTrainer

    words = tokenizer()
    model = classifier(len(words))

    def run(seed: int) -> Any:
        own = {"output_dir": tempfile.mkdtemp(), "bf16": False, "gradient_checkpointing": False, "seed": seed}
        config = TRLConfig(**(COMMON | own))
        trainer = TRLTrainer(model, args=config, train_dataset=hh_pairs(PAIRS), processing_class=words)
        if grouped:
            # transformers groups only data with a column input_ids, which TRL's pairs don't have.
            rows = trainer.train_dataset
            lengths = [max(map(len, pair)) for pair in zip(rows["chosen_ids"], rows["rejected_ids"], strict=True)]
            trainer._get_train_sampler = lambda dataset=None: LengthGroupedSampler(8, lengths=lengths)
        return trainer.train

    return one_after_another(run, runs=2)


def prepare() -> Sides:
    """Ours and TRL with its defaults."""
    return ours(), trl()


ROW = Row(
    name="reward_training",
    work="Bradley-Terry training, one epoch of 128 HH pairs in micro-batches of 8, 6-layer width-384 Llama",
    peer="trl",
    settings="RewardTrainer, defaults (float32, no checkpointing on either side)",
    prepare=prepare,
    reach=3.3,
    runs=2,
    warm_up=False,
    limit=4.0,
    limit_reason="tokens of the peer's padded rows over tokens that are needed",
)
