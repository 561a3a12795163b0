"""A tiny online run whose completions are known in advance.

`fixed_rollouts` answers a prompt with completions that depend on the prompt and on the place in its group alone, so
that every figure can be derived, whatever the policy, the number of processes or the order of prompts.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset

from prefopt.trainers.online import OnlineConfig, OnlineTrainer
from tests.tiny import tiny_llama, tiny_tokenizer

GROUP = 4
FIRST_BYTE = 7


def prompts(count: int = 16) -> Dataset:
    """Prompts ``0+0=``, ``1+1=``, ... with their answers."""
    return Dataset.from_dict(
        {"prompt": [f"{i}+{i}=" for i in range(count)], "answer": [str(2 * i) for i in range(count)]}
    )


def fixed_rollouts(asked: list[str], trainer: Any) -> dict[str, Any]:
    """Completion k of prompt ``i+i=`` has ``2 + (i + k) % 4`` tokens, drawn from a generator seeded by (i, k)."""
    tokenizer = trainer.processing_class
    start = trainer.accelerator.process_index * len(asked)
    ids = []
    for place, prompt in enumerate(asked, start):
        i, k = int(prompt.split("+")[0]), place % trainer.num_generations
        generator = torch.Generator().manual_seed(1000 * i + k)
        body = torch.randint(FIRST_BYTE + 60, FIRST_BYTE + 90, (1 + (i + k) % 4,), generator=generator).tolist()
        ids.append([*body, tokenizer.eos_token_id])
    prompt_ids = [tokenizer(prompt)["input_ids"] for prompt in asked]
    return {"prompt_ids": prompt_ids, "completion_ids": ids, "logprobs": None}


def token_mean(prompts: list[str], completions: list[str], completion_ids: list[list[int]], **_: Any) -> list[float]:
    """Mean token id over 100: differs between all completions of a group."""
    return [sum(ids) / len(ids) / 100 for ids in completion_ids]


def short(prompts: list[str], completions: list[str], completion_ids: list[list[int]], **_: Any) -> list[float]:
    """1 for at most three tokens."""
    return [float(len(ids) <= 3) for ids in completion_ids]


class LengthSuite:
    """Four tests, at most 2, 3, 4 and 5 tokens; completions of ``lost`` tokens were not judged.

    ``ragged``: prompts ``i+i=`` with an even i have only the first two of them.
    """

    names = ("length_suite",)

    def __init__(self, lost: int = 0, ragged: bool = False) -> None:
        self.lost, self.ragged = lost, ragged

    def __call__(self, prompts: Any, completions: Any, completion_ids: list[list[int]], **_: Any) -> list[float]:
        """1 for the shortest."""
        return [float(len(ids) <= 2) for ids in completion_ids]

    def results(self, prompts: Any, completions: Any, completion_ids: list[list[int]], **_: Any) -> list[Any]:
        """A row a completion."""
        counts = [2 if self.ragged and int(prompt.split("+")[0]) % 2 == 0 else 4 for prompt in prompts]
        return [
            None if len(ids) == self.lost else [len(ids) <= limit for limit in (2, 3, 4, 5)[:count]]
            for ids, count in zip(completion_ids, counts, strict=True)
        ]


def config(folder: Path | str, **settings: Any) -> OnlineConfig:
    """Settings of a run on one CPU thread that takes a second or two."""
    defaults: dict[str, Any] = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 8,
        "num_generations": GROUP,
        "max_completion_length": 6,
        "max_steps": 4,
        "learning_rate": 1e-2,
        "lr_scheduler_type": "constant",
        "logging_steps": 1,
        "save_strategy": "no",
        "use_cpu": True,
        "disable_tqdm": True,
    }
    return OnlineConfig(**{**defaults, **settings})


def trainer(
    folder: Path | str, rewards: Any = (token_mean, short), fixed: bool = True, **settings: Any
) -> OnlineTrainer:
    """An `OnlineTrainer` on a tiny Llama; ``fixed`` puts `fixed_rollouts` in place of sampling."""
    own = {
        name: settings.pop(name)
        for name in (
            "objective",
            "peft_config",
            "eval_dataset",
            "callbacks",
            "model",
            "processing_class",
            "environment_factory",
            "tools",
        )
        if name in settings
    }
    data = settings.pop("data", prompts())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return OnlineTrainer(
            own.pop("model", None) or tiny_llama(),
            list(rewards) if isinstance(rewards, (list, tuple)) else rewards,
            config(folder, **settings),
            data,
            processing_class=own.pop("processing_class", None) or tiny_tokenizer(),
            rollout_func=fixed_rollouts if fixed else None,
            **own,
        )


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A copy of all parameters."""
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def furthest(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """Largest difference of two sets of parameters."""
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def losses(run: OnlineTrainer) -> list[float]:
    """Logged losses, a step each, with every digit."""
    return [line["loss"] for line in run.state.log_history if "loss" in line]
