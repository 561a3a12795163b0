"""Every online recipe trains the tiny policy, through the command line wherever the command line can."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import AutoTokenizer, MixtralConfig, MixtralForCausalLM

from prefopt import recipes
from prefopt.cli import align_online as command
from prefopt.online.method import OnlineMethod
from prefopt.trainers.compose import choose_objective
from prefopt.trainers.history import read_history
from prefopt.trainers.online import OnlineConfig, align_online
from prefopt.trainers.rewards.reading import read_sources
from reward_models.data import load_prompts

ROOT = Path(__file__).parents[3]
POLICY, PROMPTS = ROOT / "data" / "tiny-policy", ROOT / "data" / "prompts" / "train.jsonl"
STEPS = 20

USER_FILE = """
def numbers(completions, **_):
    return [len(text) % 5 + 1 for text in completions]

def starts(completions, **_):
    return [text.find("1") / 20 for text in completions]

def ends(completions, **_):
    return [len(text) / 20 for text in completions]

def levels(completions, **_):
    return [1 + len(text) % 3 for text in completions]

def share(completions, **_):
    return [len(text) % 4 / 4 for text in completions]

def references(completions, **_):
    return [[0.5, 0.5] for _ in completions]

def of_steps(completions, steps, **_):
    return [[len(step) / 10 for step in some] for some in steps]

def of_turns(completions, **_):
    return [[text[:1] or None] for text in completions]

def step(completions, **_):
    return [0 for _ in completions]

class Suite:
    names = ("suite",)

    def __call__(self, prompts, completions, **_):
        return [float(all(row)) for row in self.results(prompts, completions)]

    def results(self, prompts, completions, **_):
        return [[len(text) > 1, len(text) > 3, len(text) % 2 == 0] for text in completions]

suite = Suite()
"""
"""What a user may write to supply inputs; ``FILE`` in the table below stands for its path."""

BY_NAME: dict[str, Any] = {
    "reference_rewards": {"inputs": {"reference_rewards": "FILE:references"}},
    "tasks": {"task_column": "kind"},
    "predictions": {"inputs": {"predictions": "FILE:numbers"}},
    "predicted_starts": {"inputs": {"predicted_starts": "FILE:starts"}},
    "predicted_ends": {"inputs": {"predicted_ends": "FILE:ends"}},
    "levels": {"inputs": {"levels": "FILE:levels"}},
    "accuracy": {"inputs": {"accuracy": "FILE:share"}},
    "prompt_value": {"inputs": {"prompt_value": "FILE:share"}},
    "prompt_solve_rate": {"inputs": {"prompt_solve_rate": "FILE:share"}},
    "from_replay": {"inputs": {"from_replay": "FILE:step"}},
    "retry_from_step": {"inputs": {"retry_from_step": "FILE:step"}},
    "turn_states": {"inputs": {"turn_states": "FILE:of_turns"}},
    "turn_rewards": {"inputs": {"turn_rewards": {"source": "FILE:of_steps"}}, "steps": "regex:\\s+"},
    "step_ids": {"steps": "regex:\\s+"},
    "step_rewards": {"inputs": {"step_rewards": "FILE:of_steps"}, "steps": "regex:\\s+"},
    "step_potentials": {"inputs": {"step_potentials": "FILE:of_steps"}, "steps": "regex:\\s+"},
    "test_results": {"rewards": [{"source": "FILE:suite"}]},
    "from_expert": {"demonstration": "answer"},
    "expert_logps": {"demonstration": "answer"},
    "reference_answer_mask": {"reference_answer": "answer"},
    "reference_answer_rewards": {"reference_answer": "answer"},
    "reference_answer_scores": {"reference_answer": "answer"},
    "policy.reference_answer_logps": {"reference_answer": "answer"},
    "policy.degraded_logps": {"degraded_prompt": "degraded"},
    "policy.answer_logps": {"answer_prompt": "told"},
    "hint_length": {"reference_answer": "answer"},
    "cutpoint_values": {"continuations": 2, "cut_interval": 4},
    "resampled_answers": {"continuations": 2},
    "soft_values": {"soft_tokens": 4},
    "policy.values": {"critic_learning_rate": 1e-2},
}
"""What a need takes beyond the default; needs that are not named here take nothing."""
ENGINE = frozenset({"sampler_logps"})
"""Needs that a run without vLLM has only with a function that generates."""
EXPERTS = frozenset({"router_probs_old_topk", "policy.router_probs_on_old_topk"})
"""Needs that only a mixture of experts has."""
WITHOUT_EVALUATIONS: dict[str, Any] = {"dynamic_hypervolume": {"recipe_settings": {"visited": "batch"}}}
"""What a recipe that learns from evaluations takes in a run that has none."""


NAMES = [*recipes.names("online"), *recipes.names("weighting")]


def settings_of(name: str, file: Path) -> dict[str, Any]:
    """Return the settings beyond the default, with the file's path in place; a weighting gets two rewards to weigh."""
    needs = recipes.build(name).needs
    found: dict[str, Any] = {"rewards": [{"source": "exact_answer"}], **WITHOUT_EVALUATIONS.get(name, {})}
    if recipes.info(name).kind == "weighting":
        found["rewards"].append(
            {"source": f"{file}:share", **({"role": "judge"} if name == "mixture_of_judges" else {})}
        )
    for need in sorted(needs & BY_NAME.keys()):
        entry = json.loads(json.dumps(BY_NAME[need]).replace("FILE", str(file)))
        inputs = {**found.get("inputs", {}), **entry.pop("inputs", {})}
        found |= entry | ({"inputs": inputs} if inputs else {})
    return found


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's file, prompts with a degraded copy of each, and a tiny mixture of experts."""
    folder = tmp_path_factory.mktemp("every_recipe")
    (folder / "own.py").write_text(USER_FILE, encoding="utf-8")
    rows = [json.loads(line) for line in PROMPTS.read_text(encoding="utf-8").splitlines()[:160]]
    lines = [
        json.dumps(
            row
            | {"degraded": row["prompt"].split()[0], "told": f"{row['answer']} {row['prompt']}", "kind": "ab"[i % 2]}
        )
        for i, row in enumerate(rows)
    ]
    (folder / "prompts.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


def experts(folder: Path) -> Path:
    """A Mixtral of two layers and four experts, with the tiny policy's tokenizer."""
    where = folder / "experts"
    if not where.is_dir():
        tokenizer = AutoTokenizer.from_pretrained(POLICY)
        config = MixtralConfig(
            vocab_size=len(tokenizer), hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_local_experts=4,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128, num_experts_per_tok=2,
            pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id, bos_token_id=None,
        )  # fmt: skip
        torch.manual_seed(0)
        MixtralForCausalLM(config).save_pretrained(where)
        tokenizer.save_pretrained(where)
    return where


def configuration(folder: Path, out: Path, name: str) -> dict[str, Any]:
    """Return what a user would write into a configuration file."""
    return {
        "output_dir": str(out),
        "max_steps": STEPS,
        "per_device_train_batch_size": 8,
        "steps_per_generation": 2,
        "num_generations": 4,
        "max_completion_length": 12,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "constant",
        "save_strategy": "no",
        "use_cpu": True,
        "disable_tqdm": True,
        "logging_steps": 1,
        **settings_of(name, folder / "own.py"),
    }


def engine(prompts: list[Any], trainer: Any) -> dict[str, Any]:
    """Random letters, and log-probabilities as an engine would report them: of a uniform choice among five."""
    tokenizer = trainer.processing_class
    ids = [tokenizer(str(prompt))["input_ids"] for prompt in prompts]
    choice = torch.tensor(tokenizer("12345", add_special_tokens=False)["input_ids"][:5])
    drawn = [choice[torch.randint(len(choice), (4,))].tolist() for _ in prompts]
    return {
        "prompt_ids": ids,
        "completion_ids": [[*one, tokenizer.eos_token_id] for one in drawn],
        "logprobs": [[-math.log(5)] * 4 + [-0.1] for _ in drawn],
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_trains(name: str, workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """20 steps on two micro-steps a generation batch: every loss is finite, no step is skipped, parameters moved."""
    monkeypatch.chdir(workplace)
    needs = recipes.build(name).needs
    config = configuration(workplace, tmp_path / "out", name)
    model = experts(workplace) if needs & EXPERTS else POLICY
    if needs & ENGINE:
        rewards = config.pop("rewards")
        data = load_prompts(workplace / "prompts.jsonl")
        align_online(model, data, rewards, OnlineConfig(recipe=name, **config), rollout_func=engine)
    else:
        whole = {"model": str(model), "data": str(workplace / "prompts.jsonl"), **config}
        (tmp_path / "run.yaml").write_text(yaml.safe_dump(whole), encoding="utf-8")
        assert command.run(["--config", str(tmp_path / "run.yaml"), "--recipe", name]) == 0
    lines = [line for line in read_history(tmp_path / "out" / "history.jsonl") if "loss" in line]
    assert len(lines) == STEPS
    assert all(math.isfinite(line["loss"]) and math.isfinite(line["grad_norm"]) for line in lines)
    assert "skipped_steps" not in lines[-1]
    summary = json.loads((tmp_path / "out" / "alignment.json").read_text(encoding="utf-8"))
    assert (summary["recipe"], summary["steps"], summary["skipped_steps"]) == (name, STEPS, 0)


@pytest.mark.parametrize("name", NAMES)
def test_what_it_needs_is_in_the_table(name: str, workplace: Path) -> None:
    """No recipe is missing: with what the table gives, every check that precedes the loading of a model passes."""
    needs = recipes.build(name).needs
    config = configuration(workplace, workplace / "out", name)
    sources = read_sources(config.pop("rewards"))
    other: Mapping[str, Any] = {"rollout_func": engine} if needs & ENGINE else {}
    chosen = choose_objective(OnlineConfig(recipe=name, **config), None, sources, other)
    assert isinstance(chosen, OnlineMethod)
    assert chosen.recipe == name
