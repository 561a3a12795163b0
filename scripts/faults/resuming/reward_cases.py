"""Runs of the reward trainer: every loss, and what lies around it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset

from prefopt import recipes
from prefopt.trainers.adapters import AdapterArguments, add_adapter
from prefopt.trainers.reward import RewardConfig, RewardTrainer
from reward_models import RewardModel
from scripts.faults.resuming.equality import Case
from tests.tiny import save_tiny, tiny_llama, tiny_tokenizer

ROWS, BATCH = 14, 2
NOT_TRAINED = frozenset({"armo", "hybrid_reward", "warm"})
"""Recipes of kind reward that are no loss of a run: procedures of several steps, and a reward that is not learnt."""
SETTINGS: dict[str, dict[str, Any]] = {
    "bradley_terry": {"loss_settings": {"label_smoothing": 0.1}},
    "focal": {},
    "goal_conditioned": {"loss_settings": {"samples": 2}},
    "groupwise_pairwise": {},
    "multi_level": {"max_length": 200},
    "policy_discriminator": {},
    "process_advantage": {},
    "process_reward": {"loss_settings": {"gamma": 0.5, "trunk": True}},
    "rao_kupper": {"tie_theta": 2.0},
    "safety": {},
}
"""Loss -> settings with which its extra modules and columns are in use."""
HEADS = "bradley_terry of two heads"
SAVE_AT = (1, 3, 4, 7)
"""In the first epoch, at its end with one or two micro-batches a step, and in a later one."""


def product_of_losses() -> Iterator[Case]:
    """Every loss, saved at each of `SAVE_AT`, with accumulation of 1 to 3, several orders, dropout and adapters."""
    ways = {
        "grouped": {},
        "shuffled with dropout": {"train_sampling_strategy": "random", "disable_dropout": False},
        "token budget": {"token_budget": 60},
        "adapter with dropout": {"lora": True, "disable_dropout": False, "train_sampling_strategy": "random"},
    }
    names = [*SETTINGS, HEADS]
    for loss, (way, more), accumulation, step in product(names, ways.items(), (1, 2, 3), SAVE_AT):
        yield of(loss, step, f"{way}, accumulation {accumulation}", **more, gradient_accumulation_steps=accumulation)


def of(loss: str, save_at: int, said: str = "", **more: Any) -> Case:
    """Return the case of a loss."""
    settings = {"loss": loss, **SETTINGS.get(loss, {}), **more}
    if loss == HEADS:
        settings |= {"loss": "bradley_terry", "heads": ("honest", "kind"), "head_learning_rate": 3e-2}
    return Case(f"reward {loss}, {said}", lambda folder: trainer(folder, **settings), save_at)


def lacking() -> list[str]:
    """Return the recipes of reward models that no case trains."""
    return sorted(set(recipes.names("reward")) - SETTINGS.keys() - NOT_TRAINED)


def rows(loss: str, count: int = ROWS) -> Dataset:
    """Return short rows of any length with what the loss reads."""
    draw = random.Random(0)
    found = []
    for i in range(count):
        prompt = "".join(draw.choices("abc", k=draw.randint(2, 9)))
        chosen, rejected = prompt[0] + "x" * draw.randint(1, 12), "y" * draw.randint(1, 12)
        row: dict[str, Any] = {"prompt": prompt, "chosen": chosen, "rejected": rejected}
        if loss.startswith("process"):
            steps = ["xy"[draw.randint(0, 1)] * draw.randint(1, 4) for _ in range(draw.randint(1, 3))]
            labels = [float("x" in step) for step in steps]
            row = {"prompt": prompt, "steps": steps, "step_labels": labels, "outcome": float(all(labels))}
        elif loss == "safety":
            row |= {"chosen_safe": bool(i % 3), "rejected_safe": bool(i % 2)}
        elif loss == "policy_discriminator":
            row["reference"] = "x" * draw.randint(1, 6)
        elif loss == HEADS:
            row["head"] = ("honest", "kind")[i % 2]
        found.append(row)
    return Dataset.from_list(found)


def trainer(
    folder: Path, loss: str, lora: bool = False, heads: tuple[str, ...] = ("score",), count: int = ROWS, **more: Any
) -> Any:
    """Return a trainer that saves at each step and logs at every third."""
    settings: dict[str, Any] = {
        "loss": loss, "learning_rate": 1e-2, "per_device_train_batch_size": BATCH, "max_steps": 9, "seed": 3,
        "logging_steps": 3, "save_strategy": "steps", "save_steps": 1, "use_cpu": True, "disable_tqdm": True, **more,
    }  # fmt: skip
    base = folder.parent / "base"
    if not base.is_dir():
        save_tiny(base, tiny_llama(head=False, layers=1, hidden=16), tiny_tokenizer())
    torch.manual_seed(0)
    model = RewardModel.from_backbone(base, heads)
    for layer in model.backbone.layers:
        layer.self_attn.attention_dropout = 0.1
    if lora:
        add_adapter(model, AdapterArguments(use_peft=True, lora_r=2, lora_dropout=0.1))
    data = rows(HEADS if len(heads) > 1 else loss, count)
    evaluated = more.get("eval_strategy", "no") != "no"
    return RewardTrainer(model, RewardConfig(output_dir=str(folder), **settings), data, data if evaluated else None)
