"""What an input costs that takes passes of its own: seconds of a GRPO update with it over without it.

An update is everything between two optimiser steps but the sampling of the completions, which are given: 8 completions
of 64 tokens behind prompts of 64, a 20M-parameter Llama. Inputs from continuations sample, and that is counted: two of
each of four cuts a completion for ``cutpoint_values`` (in training nine, before every fifth uncertain token), four of
its last fifth for ``resampled_answers``. A mixture of experts is compared with itself, and so is a small vocabulary.
"""

from __future__ import annotations

import logging
import statistics
import tempfile
import time
import warnings
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from transformers import LlamaForCausalLM, MixtralConfig, MixtralForCausalLM, TrainerCallback

from prefopt import recipes
from prefopt.online.objective import OnlineObjective
from prefopt.online.slots import PolicyWeight, Regulariser
from scripts.bench.harness import Row, Sides
from scripts.bench.subjects import llama_config, tokenizer

ROWS, GROUP, PROMPT, COMPLETION, STEPS = 8, 4, 64, 64, 3
SMALL_VOCABULARY = 4096

INPUTS: dict[str, dict[str, Any]] = {
    "entropies": {},
    "hidden_states": {},
    "group_divergence": {},
    "prompt_logps": {},
    "ref_logps": {},
    "squared_gradient_norms": {},
    "squared_gradient_norms (exact)": {"gradient_norms": "exact"},
    "expert_logps": {"demonstration": "answer"},
    "cutpoint_values": {"continuations": 2, "cut_interval": 16},
    "resampled_answers": {},
    "reference_answer_rewards": {"reference_answer": "answer"},
    "policy.entropies": {},
    "policy.hidden": {},
    "policy.top_logits": {},
    "policy.vocab_logps": {},
    "policy.values": {},
    "policy.degraded_logps": {"degraded_prompt": "prompt"},
    "policy.answer_logps": {"answer_prompt": "prompt"},
    "policy.candidate_logps": {"answer_prompt": "prompt"},
    "policy.reference_answer_logps": {"reference_answer": "answer"},
    "policy.router_probs_on_old_topk": {},
    "a mini-batch before each step": {},
}
"""Input -> settings with which it is supplied."""
TOGETHER = {
    "policy.values": {"values"},
    "policy.router_probs_on_old_topk": {"router_probs_old_topk"},
    "policy.candidate_logps": {"policy.answer_logps", "policy.candidate_answer_logps"},
    "policy.reference_answer_logps": {"reference_answer_mask"},
}
"""What comes with an input, since one is of no use without the other."""


@dataclass(frozen=True)
class Reads(Regulariser):
    """Reads inputs and adds nothing, so that the update differs by their supply alone."""

    names: frozenset[str] = frozenset()
    drawn: int = 4

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        """The inputs."""
        return self.names

    def __call__(self, policy: Any, rollouts: Any, ratio: Tensor, advantages: Tensor, *_: Any, **kept: Any) -> Tensor:
        """Return zeros."""
        return torch.zeros_like(advantages)


@dataclass(frozen=True)
class Looks(PolicyWeight):
    """Sees the whole mini-batch, and weighs nothing."""

    scope = "batch"

    def __call__(self, ratio: Tensor, advantages: Tensor, policy: Any, rollouts: Any, *_: Any, **state: Any) -> Tensor:
        """Return ones."""
        return torch.ones_like(advantages)


class Clock(TrainerCallback):
    """Seconds between the begin and the end of each step."""

    def __init__(self) -> None:
        self.started, self.seconds = 0.0, list[float]()

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Start."""
        self.started = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Stop."""
        self.seconds.append(time.perf_counter() - self.started)


def given(words: Any, asked: list[str], trainer: Any) -> dict[str, Any]:
    """Completions drawn at random, in no time."""
    prompts = [words(text, add_special_tokens=False)["input_ids"] for text in asked]
    drawn = torch.randint(1000, SMALL_VOCABULARY, (len(asked), COMPLETION)).tolist()
    return {"prompt_ids": prompts, "completion_ids": drawn, "logprobs": None}


def reward(prompts: Any, completions: Any, completion_ids: Any, **_: Any) -> list[float]:
    """Differs between completions."""
    return [float(ids[0] % 7) for ids in completion_ids]


def model_for(name: str, words: Any) -> Any:
    """A decoder of about 20M parameters; experts, or a small vocabulary, where the input asks for them."""
    torch.manual_seed(0)
    size = SMALL_VOCABULARY if name == "policy.vocab_logps" else len(words)
    if "router" in name:
        shape = {"hidden_size": 256, "intermediate_size": 384, "num_hidden_layers": 6, "num_attention_heads": 4}
        return MixtralForCausalLM(
            MixtralConfig(vocab_size=size, num_key_value_heads=4, num_local_experts=4, **shape, pad_token_id=0)
        )
    config = llama_config(size, 6, 384)
    config.pad_token_id = words.pad_token_id
    config.tie_word_embeddings = True
    return LlamaForCausalLM(config)


def update_seconds(name: str, supplied: bool) -> float:
    """Median seconds of an update, with the input or without, after one that is not counted."""
    from prefopt.trainers.online import OnlineConfig, OnlineTrainer

    words, clock = tokenizer(), Clock()
    text = " ".join(["three"] * PROMPT)
    data = Dataset.from_dict({"prompt": [text] * 8, "answer": [" ".join(["two"] * 32)] * 8})
    need = name.split(" ")[0]
    needs = frozenset({need}) | TOGETHER.get(need, set()) if " before " not in name else frozenset()
    objective: OnlineObjective = recipes.build("grpo")
    if supplied and needs:
        objective = recipes.build("grpo", regularise=(Reads(needs),))
    elif supplied:
        objective = recipes.build("grpo", policy_weight=Looks())
    with tempfile.TemporaryDirectory() as folder:
        config = OnlineConfig(
            output_dir=folder, per_device_train_batch_size=ROWS, num_generations=GROUP, max_steps=STEPS,
            max_completion_length=COMPLETION, learning_rate=1e-6, save_strategy="no", disable_tqdm=True,
            logging_steps=100, use_cpu=not torch.cuda.is_available(), **(INPUTS[name] if supplied else {}),
        )  # fmt: skip
        run = OnlineTrainer(
            model_for(name, words), [reward], config, data, None, objective, processing_class=words,
            rollout_func=partial(given, words), callbacks=[clock],
        )  # fmt: skip
        run.train()
    return statistics.median(clock.seconds[1:])


def prepare() -> Sides:
    """An update with the behaviour's entropies, and one without."""
    quiet()
    return partial(update_seconds, "entropies", True), partial(update_seconds, "entropies", False)


def quiet() -> None:
    """Leave out what libraries say of every construction."""
    warnings.filterwarnings("ignore")
    logging.getLogger("prefopt").setLevel(logging.ERROR)


def table() -> dict[str, Any]:
    """Seconds without, and how many times as long an update with each input takes."""
    plain: dict[str, float] = {}
    found: dict[str, float] = {}
    for name in INPUTS:
        kind = "experts" if "router" in name else "small vocabulary" if "vocab" in name else ""
        if kind not in plain:
            plain[kind] = update_seconds(name, supplied=False)
        found[name] = update_seconds(name, supplied=True) / plain[kind]
    return {
        "update_s": round(plain[""], 3),
        "times_as_long": {name: round(value, 2) for name, value in sorted(found.items(), key=lambda one: -one[1])},
    }


ROW = Row(
    name="needs_cost",
    work=f"a GRPO update of {ROWS} given completions of {COMPLETION} tokens behind prompts of {PROMPT}, a Llama of six "
    "layers of width 384, with an input that takes passes of its own (the ratio is that of the behaviour's entropies); "
    "`times_as_long` for each input over the same update without it",
    peer="trl",
    settings="our trainer, without the input",
    prepare=prepare,
    reach=0.0,
    runs=1,
    warm_up=False,
    threads=(2,),
    extra=table,
)
