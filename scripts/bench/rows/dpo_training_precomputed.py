"""DPO on 64 HH pairs beside TRL's DPOTrainer, reference log-probabilities computed before on both sides."""

from __future__ import annotations

from dataclasses import replace

from scripts.bench.harness import Sides
from scripts.bench.rows import dpo_training


def prepare() -> Sides:
    """Ours and TRL, each with its own precomputed reference."""
    return dpo_training.ours(precompute_reference=True), dpo_training.trl(precompute_ref_log_probs=True)


ROW = replace(
    dpo_training.ROW,
    name="dpo_training_precomputed",
    work=dpo_training.ROW.work.replace("reference included", "reference log-probabilities computed before"),
    settings="DPOTrainer, precompute_ref_log_probs (float32, no checkpointing on either side)",
    prepare=prepare,
    extra=lambda: dpo_training.matrix_products(reference=False),
)
