"""Trainers of each class on a tiny model: steps of some milliseconds, sampled completions, three rewards or pairs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from datasets import Dataset

from prefopt.trainers.offline import OfflineConfig, offline_objective, trainer_of
from prefopt.trainers.online import OnlineConfig, OnlineTrainer
from prefopt.trainers.reward import RewardConfig, RewardTrainer
from reward_models import RewardModel
from tests.tiny import save_tiny, tiny_llama, tiny_tokenizer

WIDTH, LAYERS = 16, 1
SHARED: dict[str, Any] = {
    "per_device_train_batch_size": 4,
    "per_device_eval_batch_size": 4,
    "max_steps": 6,
    "learning_rate": 1e-2,
    "lr_scheduler_type": "constant",
    "logging_steps": 1,
    "save_strategy": "no",
    "use_cpu": True,
    "disable_tqdm": True,
    "report_to": "none",
}
Build = Callable[..., Any]


def letters(prompts: Any, completions: Any, completion_ids: list[list[int]], **_: Any) -> list[float]:
    """Mean token id, over 100."""
    return [sum(ids) / max(len(ids), 1) / 100 for ids in completion_ids]


def evenness(prompts: Any, completions: Any, completion_ids: list[list[int]], **_: Any) -> list[float]:
    """Share of even token ids."""
    return [sum(one % 2 == 0 for one in ids) / max(len(ids), 1) for ids in completion_ids]


def early(prompts: Any, completions: Any, completion_ids: list[list[int]], **_: Any) -> list[float]:
    """1 for a first token in the lower half of the vocabulary."""
    return [float(ids[0] < 131) if ids else 0.0 for ids in completion_ids]


def questions(count: int = 8) -> Dataset:
    """Prompts ``0+0=``, ``1+1=``, ... with their answers."""
    return Dataset.from_dict(
        {"prompt": [f"{i}+{i}=" for i in range(count)], "answer": [str(2 * i) for i in range(count)]}
    )


def pairs(count: int = 8) -> Dataset:
    """Short ragged pairs; the better answer explains."""
    rows = {
        "prompt": [f"Q{i}: {'why ' * (i % 3)}?" for i in range(count)],
        "chosen": [f"As {i}." + " Yes." * (i % 3) for i in range(count)],
        "rejected": ["No" + " idea" * (i % 2) + f" {i}." for i in range(count)],
    }
    return Dataset.from_dict(rows)


def judged(count: int = 8) -> Dataset:
    """The answers of half as many pairs, each on its own, judged good or bad."""
    rows = [
        {"prompt": row["prompt"], "completion": row[name], "label": name == "chosen"}
        for row in pairs(count // 2)
        for name in ("chosen", "rejected")
    ]
    return Dataset.from_list(rows)


def online(folder: Path, recipe: Any = "grpo", callbacks: Any = (), **settings: Any) -> OnlineTrainer:
    """An `OnlineTrainer` that samples 4 tokens a completion."""
    own = {
        "num_generations": 4,
        "max_completion_length": 4,
        "temperature": 1.3,
        "recipe": recipe,
    }
    rewards = settings.pop("rewards", [letters, evenness, early])
    config = OnlineConfig(output_dir=str(folder), **{**SHARED, **own, **settings})
    torch.manual_seed(config.seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return OnlineTrainer(
            policy(), rewards, config, questions(), questions(2),
            processing_class=tiny_tokenizer(), callbacks=list(callbacks),
        )  # fmt: skip


def offline(folder: Path, recipe: Any = "dpo", callbacks: Any = (), **settings: Any) -> Any:
    """The trainer of an offline recipe's rows."""
    config = OfflineConfig(output_dir=str(folder), recipe=recipe, **{**SHARED, "warmup_steps": 0, **settings})
    torch.manual_seed(config.seed)
    objective = offline_objective(config)
    rows = judged if objective.unpaired else pairs
    return trainer_of(objective)(
        policy(), config, objective, rows(), rows(4), tiny_tokenizer(), callbacks=list(callbacks)
    )


def reward(folder: Path, loss: str = "bradley_terry", callbacks: Any = (), **settings: Any) -> RewardTrainer:
    """A `RewardTrainer` with one head, or those that ``heads`` names."""
    heads = settings.pop("heads", ("score",))
    config = RewardConfig(output_dir=str(folder), loss=loss, **{**SHARED, **settings})
    start = backbone()
    torch.manual_seed(config.seed)
    model = RewardModel.from_backbone(start, heads)
    data, held_out = pairs(), pairs(4)
    if len(heads) > 1:
        data, held_out = (
            rows.add_column("head", [heads[i % len(heads)] for i in range(len(rows))]) for rows in (data, held_out)
        )
    return RewardTrainer(model, config, data, held_out, callbacks=list(callbacks))


TRAINERS: dict[str, Build] = {"online": online, "offline": offline, "reward": reward}


@cache
def backbone() -> Path:
    """A folder with the tiny model, written once a process."""
    model = tiny_llama(head=False, hidden=WIDTH, layers=LAYERS, positions=128)
    return save_tiny(Path(mkdtemp(prefix="prefopt-tiny-")), model, tiny_tokenizer())


def policy() -> Any:
    """A policy with random weights, always the same."""
    return tiny_llama(hidden=WIDTH, layers=LAYERS, positions=128)


def parameters(trainer: Any) -> dict[str, torch.Tensor]:
    """A copy of all parameters of a trainer's model."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def same_end(one: Any, other: Any) -> bool:
    """Whether two trainers ended at the same bits: parameters, the optimiser's moments, state of the objective."""
    mine, theirs = parameters(one), parameters(other)
    same = mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)
    for trainer_state, other_state in zip(_moments(one), _moments(other), strict=True):
        same = same and torch.equal(trainer_state, other_state)
    states = [getattr(trainer, "objective_state", {}) for trainer in (one, other)]
    return same and all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def _moments(trainer: Any) -> list[torch.Tensor]:
    groups = trainer.optimizer.state.values()
    return [value for state in groups for value in state.values() if isinstance(value, torch.Tensor)]
