"""DPO on HH pairs, micro-batches of 8 pairs, the reference's passes included, beside TRL's DPOTrainer.

One epoch of the first 24 pairs is a run: the peer takes most of a minute for them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from prefopt import recipes
from prefopt.trainers.offline import OfflineConfig, OfflineTrainer
from prefopt.trainers.pairs.batches import length
from prefopt.trainers.pairs.tokens import tokenise_pairs
from prefopt.trainers.sampling_order import EpochShuffle, LengthBuckets
from scripts.bench.counting import over_epochs, padded
from scripts.bench.harness import Counts, Row, Sides
from scripts.bench.subjects import decoder, hh_pairs, tokenizer

PAIRS = 24
TOGETHER = 8
COMMON = {
    "per_device_train_batch_size": TOGETHER,
    "num_train_epochs": 1,
    "save_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
    "logging_strategy": "no",
    "max_length": 1024,
    "learning_rate": 1e-6,
    "use_cpu": not torch.cuda.is_available(),
}


def ours(**settings: Any) -> Callable[[], Any]:
    """One epoch with our trainer."""
    words = tokenizer()
    config = OfflineConfig(output_dir=tempfile.mkdtemp(), **(COMMON | settings))
    objective = recipes.build("dpo", beta=0.1)
    trainer = OfflineTrainer(decoder(len(words)), config, objective, hh_pairs(PAIRS), processing_class=words)
    return trainer.train


def trl(**settings: Any) -> Callable[[], Any]:
    """One epoch with TRL's trainer, which makes the reference from the policy's folder."""
    from trl import DPOConfig, DPOTrainer

    words = tokenizer()
    folder = Path(tempfile.mkdtemp())
    decoder(len(words)).save_pretrained(folder / "policy")
    policy = type(decoder(len(words))).from_pretrained(folder / "policy")
    config = DPOConfig(
        output_dir=str(folder), beta=0.1, bf16=False, gradient_checkpointing=False, **(COMMON | settings)
    )
    trainer = DPOTrainer(policy, args=config, train_dataset=hh_pairs(PAIRS), processing_class=words)
    return trainer.train


def prepare() -> Sides:
    """Ours and TRL with its defaults."""
    return ours(), trl()


def counts(reference: bool = True) -> Counts:
    """Multiplications in matrix products, means of ten epochs.

    A backward pass counts as two forward passes, the reference as one. The peer's head runs over every position, and
    once more in the backward pass; ours over response tokens alone.
    """
    words = tokenizer()
    model = decoder(len(words))
    head = model.get_output_embeddings().weight.numel()
    body = sum(p.numel() for p in model.model.layers.parameters())
    rows = tokenise_pairs(hh_pairs(PAIRS), words, COMMON["max_length"], "truncate_prompt").rows
    shared, plain = ([length(row, share) for row in rows] for share in (True, False))
    responses = sum(len(row["chosen_ids"]) + len(row["rejected_ids"]) for row in rows)
    theirs = over_epochs(EpochShuffle(PAIRS, 1, 0), lambda order: 2 * padded([plain[i] for i in order], TOGETHER))
    mine = over_epochs(
        LengthBuckets(shared, TOGETHER, 1, 0), lambda order: padded([shared[i] for i in order], TOGETHER)
    )
    passes = 4 if reference else 3
    return Counts(
        peer=theirs * (passes * body + (passes + 1) * head),
        ours=passes * (mine * body + responses * head),
        needed=passes * (sum(shared) * body + responses * head),
    )


ROW = Row(
    name="dpo_training",
    work="DPO training, 24 HH pairs, 6-layer width-384 Llama, micro-batch of 8 pairs, one epoch, reference included",
    peer="trl",
    settings="DPOTrainer, defaults (float32, no checkpointing on either side)",
    prepare=prepare,
    memory=(ours, trl),
    reach=3.0,
    runs=2,
    warm_up=False,
    counts=counts,
    limit_reason="multiplications in matrix products of the peer over those needed: no padding, each prompt once, the "
    "head over responses alone",
)
