"""Runs of the online trainer: every recipe and weighting, and what lies around it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset

from prefopt import recipes
from prefopt.online.turnwise import TurnwiseObjective
from prefopt.trainers.online import OnlineConfig, OnlineTrainer
from scripts.faults.resuming.equality import Case
from scripts.faults.resuming.experts import tiny_experts
from tests.tiny import tiny_llama, tiny_tokenizer
from tests.trainers.online.test_every_recipe import ENGINE, EXPERTS, USER_FILE, settings_of

PROMPTS = 10
MOVING: dict[str, Mapping[str, Any]] = {
    "reinforce, running baseline": {"recipe": "reinforce", "recipe_settings": {"baseline_momentum": 0.9}},
    "grpo, reference": {"recipe": "grpo", "recipe_settings": {"beta": 0.1}},
    "grpo, adapter with dropout": {
        "recipe": "grpo", "recipe_settings": {"beta": 0.1}, "use_peft": True, "lora_r": 2, "lora_dropout": 0.1,
        "disable_dropout": False,
    },
    "grpo, token budget": {"recipe": "grpo", "token_budget": 48},
    "grpo, not shuffled": {"recipe": "grpo", "shuffle_dataset": False},
    "gae, critic": {"recipe": "gae", "recipe_settings": {"value_bound": 0.2}, "critic_learning_rate": 0.05},
    "adhint, hints": {"recipe": "adhint"},
    "soft_grpo, soft thoughts": {"recipe": "soft_grpo", "soft_tokens": 2},
    "seeupo, step by step": {"recipe": "seeupo", "steps": "regex:(?<=.)(?=.)"},
    "dynamic_hypervolume, evaluated": {
        "recipe": "dynamic_hypervolume", "recipe_settings": {}, "eval_strategy": "steps", "eval_steps": 1,
        "eval_on_start": True,
    },
    "m2po, whole mini-batches": {"recipe": "m2po", "recipe_settings": {"threshold": 1e-9}},
}  # fmt: skip
"""What can be set beside a recipe's name, and recipes that have a state with settings alone."""
ROLES = {"mixture_of_judges": "judge", "high_confidence": "cost"}
"""Weighting -> the role of its second reward."""
SAVE_AT = (1, 3, 4, 6)
"""Inside buffers of 2 and 4 micro-steps and at their ends, in the first epoch and in a later one."""


def product_of_recipes() -> Iterator[Case]:
    """Every recipe and what is in `MOVING`, at each of `SAVE_AT`, over buffers, passes over them and accumulation.

    Those without a state differ in their losses alone: each of them is tried with two of these.
    """
    for name in (*recipes.names("online"), *recipes.names("weighting"), *MOVING):
        moved = name in MOVING or bool(recipes.build(name).init_state())
        ways = product((1, 2, 4), (1, 2), (1, 2, 3)) if moved else ((2, 1, 1), (4, 2, 2))
        for steps, passes, together in ways:
            if not (turnwise(name) and (steps % together or (name not in MOVING and passes > 1))):
                yield from (of(name, step, steps, passes, together) for step in SAVE_AT)


def of(name: str, save_at: int, steps: int = 2, passes: int = 1, together: int = 1, **more: Any) -> Case:
    """Return the case of a recipe, a weighting, or an entry of `MOVING`."""
    settings = {
        "steps_per_generation": steps, "num_iterations": passes, "gradient_accumulation_steps": together, **more,
    }  # fmt: skip
    said = f"{steps} micro-steps a generation, {passes} passes, accumulation {together}"
    return Case(f"online {name}, {said}", lambda folder: trainer(folder, name, **settings), save_at)


def turnwise(name: str) -> bool:
    """Whether a recipe makes a pass for each turn."""
    return isinstance(recipes.build(MOVING.get(name, {"recipe": name})["recipe"]), TurnwiseObjective)


def stateful() -> list[str]:
    """Return the recipes and weightings that have a state with their defaults."""
    return [
        name for name in (*recipes.names("online"), *recipes.names("weighting")) if recipes.build(name).init_state()
    ]


def rows() -> Dataset:
    """Return prompts ``0+0=``, ... with the columns that some recipe reads."""
    return Dataset.from_list(
        [
            {
                "prompt": f"{i}+{i}=",
                "answer": str(2 * i),
                "degraded": f"{i}",
                "told": f"{2 * i}: {i}+{i}=",
                "kind": "ab"[i % 2],
            }
            for i in range(PROMPTS)
        ]
    )


def low(completions: list[str], completion_ids: list[list[int]], **_: Any) -> list[float]:
    """Share of tokens in the lower half of the vocabulary."""
    return [sum(one < 131 for one in ids) / len(ids) for ids in completion_ids]


def even(completions: list[str], completion_ids: list[list[int]], **_: Any) -> list[float]:
    """Share of even tokens."""
    return [sum(one % 2 == 0 for one in ids) / len(ids) for ids in completion_ids]


def engine(prompts: list[Any], trainer: Any) -> dict[str, Any]:
    """Random letters, and log-probabilities as an engine would report them: of a uniform choice among five."""
    tokenizer = trainer.processing_class
    drawn = [(20 + torch.randint(5, (4,))).tolist() for _ in prompts]
    return {
        "prompt_ids": [tokenizer(str(prompt))["input_ids"] for prompt in prompts],
        "completion_ids": [[*one, tokenizer.eos_token_id] for one in drawn],
        "logprobs": [[-math.log(5)] * 4 + [-0.1] for _ in drawn],
    }


def trainer(folder: Path, name: str, **more: Any) -> Any:
    """Return a trainer that samples, saves at each step and logs at every third."""
    file = folder.parent / "own.py"
    if not file.is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(USER_FILE, encoding="utf-8")
    beside = dict(MOVING.get(name, {"recipe": name}))
    recipe = beside["recipe"]
    needs = recipes.build(recipe).needs
    own = settings_of(recipe, file)
    sources: list[dict[str, Any]] = [{"source": low}, {"source": even}]
    if recipe in ROLES:
        sources[1]["role"] = ROLES[recipe]
    sources = own["rewards"] if "test_results" in needs else sources[: len(own["rewards"])]
    del own["rewards"]
    settings = {
        "output_dir": str(folder), "per_device_train_batch_size": 4, "per_device_eval_batch_size": 4,
        "num_generations": 4, "max_completion_length": 6, "max_steps": 8, "learning_rate": 1e-2, "temperature": 1.3,
        "logging_steps": 3, "save_strategy": "steps", "save_steps": 1, "use_cpu": True, "disable_tqdm": True,
        **own, **beside, **more,
    }  # fmt: skip
    evaluated = str(settings.get("eval_strategy", "no")) != "no"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return OnlineTrainer(
            tiny_experts() if needs & EXPERTS else tiny_llama(layers=1, hidden=16),
            sources,
            OnlineConfig(**settings),
            rows(),
            rows().select(range(2)) if evaluated else None,
            processing_class=tiny_tokenizer(),
            rollout_func=engine if needs & ENGINE else None,
        )
