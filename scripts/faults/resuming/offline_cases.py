"""Runs of the offline trainers: every recipe, and what lies around it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM

from prefopt import recipes
from prefopt.trainers.adapters import AdapterArguments, wrap
from prefopt.trainers.offline import OfflineConfig, offline_objective, rows_of, trainer_of
from prefopt.trainers.response_tokens import add_tokens, make_room
from scripts.faults.resuming.equality import Case
from scripts.faults.resuming.experts import tiny_experts
from tests.tiny import save_tiny, tiny_llama, tiny_tokenizer

ROWS, BATCH = 10, 2
STAGED = frozenset({"pre_dpo"})
"""Recipes of two runs, which find their own checkpoints."""
SETTINGS: dict[str, Mapping[str, Any]] = {
    "clipped_ips": {"recipe_settings": {"per_token": True}},
    "conditional_pretraining": {},
    "exponential_smoothing": {"recipe_settings": {"per_token": True}},
    "ips": {"recipe_settings": {"per_token": True}},
    "mah_dpo": {"recipe_settings": {"heads": 2, "noise": 0.1, "head_rate": 2.0}},
    "multi_level_dpo": {"max_length": 220},
    "preference_degree": {"recipe_settings": {"coefficient": 1.0}},
    "tr_dpo": {"recipe_settings": {"share": 0.6, "every": 2}},
}
"""Recipe -> settings with which its states, heads or copies move within a few steps; the others have none of these."""
MORE: dict[str, Mapping[str, Any]] = {
    "awr, with a critic": {"recipe": "conditional_pretraining", "recipe_settings": {"objective": "awr"}},
    "mixture of experts": {"recipe": "dpo", "experts": True},
    "rwr": {"recipe": "conditional_pretraining", "recipe_settings": {"objective": "rwr"}},
    "aot and bco_pair": {"recipe": [{"recipe": "aot", "weight": 0.7}, {"recipe": "bco_pair", "weight": 0.3}, "cpo"]},
    "bco, prompts matched": {"recipe": "bco", "recipe_settings": {"match_prompts": True}},
    "snips": {"recipe": "ips", "recipe_settings": {"per_token": True, "self_normalised": True}},
    "adapter with dropout": {"recipe": "sparse_po", "lora": True, "disable_dropout": False},
    "token budget": {"recipe": "kto", "token_budget": 60},
    "shuffled with dropout": {"recipe": "wpo", "train_sampling_strategy": "random", "disable_dropout": False},
    "moved adapter": {"recipe": "tr_dpo", "recipe_settings": {"share": 0.6, "every": 2}, "lora": True},
    "precomputed reference": {"recipe": "dpo", "precompute_reference": True},
    "whole batches with dropout": {"recipe": "kto", "disable_dropout": False},
    "weighted rows": {"recipe": "dpo", "sample_weights": True},
}
"""What can be set beside a recipe's name."""
SAVE_AT = (1, 3, 5, 6)
"""In the first epoch, at its end with one or two micro-batches a step, and in a later one."""


def product_of_recipes() -> Iterator[Case]:
    """Every recipe and what is in `MORE`, saved at each of `SAVE_AT`, with accumulation of 1 to 3."""
    names = [name for name in recipes.names("offline") if name not in STAGED]
    for name, accumulation, step in product((*names, *MORE), (1, 2, 3), SAVE_AT):
        yield of(name, step, gradient_accumulation_steps=accumulation)


def of(name: str, save_at: int, **more: Any) -> Case:
    """Return the case of a recipe or of an entry of `MORE`."""
    settings = {"recipe": name, **SETTINGS.get(name, {}), **MORE.get(name, {}), **more}
    said = f"accumulation {more['gradient_accumulation_steps']}" if "gradient_accumulation_steps" in more else "plain"
    return Case(f"offline {name}, {said}", lambda folder: trainer(folder, **settings), save_at)


def rows(objective: Any, weighted: bool, count: int = ROWS) -> Any:
    """Return short ragged rows with everything that the objective reads."""
    if "token_scores" in objective.needs:
        return [
            {"segments": [f"Good {i}. ", "bad" + "!" * (i % 3)], "scores": [0.0, 0.2 * (i % 5)]} for i in range(count)
        ]
    if "log_propensity" in objective.needs:
        return [
            {"prompt": f"Q{i}?", "completion": "Yes" + "!" * (i % 4), "reward": i % 2, "log_propensity": -4.0 - i % 4}
            for i in range(count)
        ]
    if objective.unpaired:
        return Dataset.from_list(
            [
                {"prompt": f"Q{i // 2}?", "completion": f"As {i}." + " Yes." * (i % 4), "label": i % 3 != 0}
                for i in range(count)
            ]
        )
    return Dataset.from_list(
        [
            {
                "prompt": f"Q{i}: {'why ' * (i % 4)}?",
                "chosen": f"As {i}." + " Yes." * (i % 3),
                "rejected": "No" + " idea" * (i % 3) + f" {i}.",
                "head": i % 2,
                **({"sample_weight": 0.5 + i % 2} if weighted else {}),
            }
            for i in range(count)
        ]
    )


def trainer(folder: Path, lora: bool = False, experts: bool = False, count: int = ROWS, **more: Any) -> Any:
    """Return a trainer that saves at each step and logs at every third; the policy starts beside its reference."""
    base = folder.parent / "base"
    if not base.is_dir():
        start = tiny_experts() if experts else tiny_llama(layers=1, hidden=16, positions=1024)
        save_tiny(base, start, tiny_tokenizer())
    config = OfflineConfig(
        **{
            "output_dir": str(folder), "learning_rate": 1e-2, "per_device_train_batch_size": BATCH, "max_steps": 8,
            "warmup_steps": 2, "logging_steps": 3, "save_strategy": "steps", "save_steps": 1, "use_cpu": True,
            "disable_tqdm": True, **more,
        }
    )  # fmt: skip
    objective, tokenizer = offline_objective(config), tiny_tokenizer()
    policy = AutoModelForCausalLM.from_pretrained(base, use_safetensors=True, trust_remote_code=False)
    banned = add_tokens(tokenizer, objective, lora)
    data = rows(objective, config.sample_weights, count)
    found = rows_of(data, config, objective, tokenizer, policy.config, "training data")
    torch.manual_seed(config.seed)
    make_room(policy, tokenizer, banned)
    for layer in policy.model.layers:
        layer.self_attn.attention_dropout = 0.1
    if lora:
        adapter = AdapterArguments(use_peft=True, lora_r=2, lora_dropout=0.1)
        policy = wrap(policy, adapter, task_type="CAUSAL_LM")
    kind = trainer_of(objective)
    held_out = found if config.eval_strategy != "no" else None
    return kind(policy, config, objective, found, held_out, tokenizer, fresh_adapter=lora)
