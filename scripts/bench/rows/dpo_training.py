"""DPO on HH pairs, micro-batches of 8 pairs, the reference's passes included, beside TRL's DPOTrainer.

One epoch of the first 64 pairs is a run: the peer takes minutes for them. On the first 256 the peer pads more (its
matrix products over ours are 5.3 there, 4.4 on these), so that the ratio of a whole run is not overstated.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from prefopt import recipes
from prefopt.trainers.offline import OfflineConfig, OfflineTrainer
from prefopt.trainers.pair_batches import length
from prefopt.trainers.pair_tokens import tokenise_pairs
from prefopt.trainers.sampling_order import EpochShuffle, LengthBuckets
from scripts.bench.harness import Row, Sides
from scripts.bench.subjects import decoder, hh_pairs, tokenizer

PAIRS = 32
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


def matrix_products(reference: bool, epochs: int = 10) -> dict[str, float]:
    """Count tokens and matrix products of both sides, ours also without any padding, over the orders of some epochs.

    A backward pass counts as two. The peer's head runs over every position, and once more in the backward pass.
    """
    words = tokenizer()
    model = decoder(len(words))
    head = model.get_output_embeddings().weight.numel()
    body = sum(p.numel() for p in model.model.layers.parameters())
    rows = tokenise_pairs(hh_pairs(PAIRS), words, COMMON["max_length"], "truncate_prompt").rows
    shared, plain = ([length(row, share) for row in rows] for share in (True, False))
    responses = sum(len(row["chosen_ids"]) + len(row["rejected_ids"]) for row in rows)

    def laid_out(order: EpochShuffle, lengths: list[int]) -> float:
        found = []
        for epoch in range(epochs):
            order.set_epoch(epoch)
            drawn = [lengths[i] for i in order]
            found.append(sum(TOGETHER * max(drawn[i : i + TOGETHER]) for i in range(0, len(drawn), TOGETHER)))
        return mean(found)

    theirs = 2 * laid_out(EpochShuffle(PAIRS, 1, 0), plain)
    mine = laid_out(LengthBuckets(shared, TOGETHER, 1, 0), shared)
    passes, again = (4, 1) if reference else (3, 1)
    peer = theirs * (passes * body + (passes + again) * head)
    return {
        "peer_tokens": theirs,
        "our_tokens": mine,
        "useful_tokens": sum(shared),
        "response_tokens": responses,
        "matrix_products_ratio": round(peer / (passes * (mine * body + responses * head)), 2),
        "matrix_products_limit": round(peer / (passes * (sum(shared) * body + responses * head)), 2),
    }


ROW = Row(
    name="dpo_training",
    work="DPO training, 32 HH pairs, 6-layer width-384 Llama, micro-batch of 8 pairs, one epoch, reference included",
    peer="trl",
    settings="DPOTrainer, defaults (float32, no checkpointing on either side)",
    prepare=prepare,
    memory=(ours, trl),
    reach=3.0,
    runs=2,
    warm_up=False,
    extra=lambda: matrix_products(reference=True),
)
