"""Preference pairs for tiny models, and the settings of a quiet run on a CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets import Dataset

from prefopt.trainers.offline import OfflineConfig


def pairs(count: int = 8, **columns: list[Any]) -> Dataset:
    """Short ragged pairs; the better answer explains."""
    rows = {
        "prompt": [f"Q{i}: {'why ' * (i % 4)}?" for i in range(count)],
        "chosen": [f"Because {i}." + " Yes." * (i % 3) for i in range(count)],
        "rejected": ["No" + " idea" * (i % 5) + f" {i}." for i in range(count)],
    }
    return Dataset.from_dict({**rows, **columns})


def quiet(folder: Path, **settings: Any) -> OfflineConfig:
    """A run of plain gradient descent, logged at each step."""
    return OfflineConfig(
        **{
            "output_dir": str(folder),
            "use_cpu": True,
            "disable_tqdm": True,
            "save_strategy": "no",
            "warmup_steps": 0,
            "lr_scheduler_type": "constant",
            "logging_steps": 1,
            "optim": "sgd",
            "learning_rate": 0.1,
            "per_device_train_batch_size": 8,
            "max_steps": 1,
            **settings,
        }
    )
