"""DPO on a GPU, the reference's passes included, beside TRL's DPOTrainer with SDPA or FlashAttention."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from scripts.bench.flops import TRAINING, Passed, needed, padded_rows
from scripts.bench.gpu import Load, figures, forest, pairs, peer_attention, skip, words
from scripts.bench.harness import Counts, Row, Sides
from scripts.bench.rows.gpu_reward_training import common

LOAD = Load(forest(48, 2, (128, 768), (64, 384), seed=1), together=8)


def ours(load: Load) -> Callable[[], Any]:
    """One epoch with our trainer, the attention chosen automatically."""
    from prefopt import recipes
    from prefopt.trainers.offline import OfflineConfig, OfflineTrainer

    config, objective = OfflineConfig(**common(load)), recipes.build("dpo", beta=0.1)
    return OfflineTrainer(load.policy(), config, objective, pairs(load.trees), processing_class=words()).train


def trl(load: Load) -> Callable[[], Any]:
    """One epoch with TRL's trainer, which reads its reference from the policy's folder."""
    from trl import DPOConfig, DPOTrainer

    folder = Path(tempfile.mkdtemp()) / "policy"
    load.policy().save_pretrained(folder)
    policy = type(load.policy()).from_pretrained(folder, dtype=load.dtype, attn_implementation=peer_attention())
    loading = {"dtype": load.dtype, "attn_implementation": peer_attention()}
    config = DPOConfig(beta=0.1, model_init_kwargs=loading, **common(load))
    return DPOTrainer(policy, args=config, train_dataset=pairs(load.trees), processing_class=words()).train


def sides(load: Load) -> Sides:
    """Ours and TRL."""
    return ours(load), trl(load)


def counts(load: Load) -> Counts:
    """Operations of policy and reference; the peer's head runs over every token, and once more in the backward pass."""
    rows = load.row_lengths()
    longest = [length for at in range(0, len(rows), 2) for length in [max(rows[at : at + 2])] * 2]
    padded = padded_rows(longest, 2 * load.together, head=True)
    passes = TRAINING + 1
    theirs = passes * padded.operations(load.config) + Passed(predicting=padded.predicting).operations(load.config)
    least = passes * needed(load.trees, head=True).operations(load.config)
    return Counts(theirs, least, least)


ROW = Row(
    name="gpu_dpo_training",
    work="DPO training, 48 pairs, prompts of 128 to 768 tokens, responses of 64 to 384, micro-batches of 8, reference "
    "included, 1.2B Llama, bfloat16",
    peer="trl",
    settings=f"DPOTrainer, defaults, {peer_attention()} (no checkpointing on either side)",
    prepare=partial(sides, LOAD),
    reach=2.0,
    threads=(8,),
    counts=partial(counts, LOAD),
    limit_reason="operations of the peer over those needed: no padding, each prompt once, the head over "
    "responses alone",
    skip=skip("trl", "datasets", "accelerate"),
    figures=lambda measured, device: figures(LOAD, counts(LOAD), measured, device),
)
