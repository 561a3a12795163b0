"""DPO on HH pairs beside TRL's DPOTrainer, reference log-probabilities computed before on both sides."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from scripts.bench.harness import Sides
from scripts.bench.rows import dpo_training

ours = partial(dpo_training.ours, precompute_reference=True)
trl = partial(dpo_training.trl, precompute_ref_log_probs=True)


def prepare() -> Sides:
    """Ours and TRL, each with its own precomputed reference."""
    return ours(), trl()


ROW = replace(
    dpo_training.ROW,
    name="dpo_training_precomputed",
    work=dpo_training.ROW.work.replace("reference included", "reference log-probabilities computed before"),
    settings="DPOTrainer, precompute_ref_log_probs (float32, no checkpointing on either side)",
    prepare=prepare,
    warm_up=False,
    memory=(ours, trl),
    counts=partial(dpo_training.counts, reference=False),
)
