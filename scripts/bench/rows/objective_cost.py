"""What an objective costs beside the model: ``prepare``, ``refine`` and ``loss`` of every recipe without extra passes.

512 completions of 1,024 tokens, beside a forward and backward pass of a 100M-parameter Llama over as many tokens. The
pass is measured on one row, and taken 512 times. ``prepare`` runs on the CPU, as in training, the rest where the model
is.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from prefopt import recipes
from prefopt.batch import NEEDS, PolicyOutputs, Rollouts
from prefopt.online.method import OnlineMethod
from prefopt.trainers.supply.inputs import INTEGERS, TRUTHS
from scripts.bench.harness import Row, Sides, seconds
from scripts.bench.subjects import llama_config

ROWS, GROUP, TOKENS, LISTS = 512, 8, 1024, 8
VOCABULARY, LAYERS, WIDTH = 32_000, 10, 768
LIMIT = 0.01
SIZES = {"B": ROWS, "T": TOKENS, "S": LISTS, "M": LISTS, "P": ROWS // GROUP, "T'": 64}
PASSES = frozenset({
    "hidden_states", "router_probs_old_topk", "policy.router_probs_on_old_topk", "policy.hidden", "policy.top_logits",
    "policy.top_ids", "policy.vocab_logps", "policy.answer_logps", "policy.candidate_logps", "policy.soft_logps",
    "policy.candidate_answer_logps", "policy.degraded_logps", "policy.reference_answer_logps", "ref_logps",
    "cutpoint_values", "resampled_answers", "group_divergence", "expert_logps", "turn_correction",
})  # fmt: skip
"""Inputs that take a pass of their own, or large tensors: their recipes are left out."""
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def names() -> list[str]:
    """The recipes that are measured."""
    return [name for name in recipes.names("online") if not recipes.build(name).needs & PASSES]


def draw(name: str, generator: torch.Generator) -> Tensor:
    """A value of an input, of its shape: steps and turns of 128 tokens, small integers, numbers in [0, 1)."""
    letters = [letter.strip() for letter in NEEDS[name].shape.strip("()").split(",")]
    shape = tuple(SIZES[letter] for letter in letters if letter)
    if name in ("turn_ids", "step_ids"):
        return (torch.arange(TOKENS) // (TOKENS // LISTS)).expand(shape).contiguous()
    if name in INTEGERS:
        return torch.randint(0, 3, shape, generator=generator)
    if name in TRUTHS | {"prompt_mask", "test_results", "turn_test_results"}:
        values = torch.rand(shape, generator=generator) < 0.3
        return values.float() if name.endswith("results") else values
    values = torch.rand(shape, generator=generator)
    return -values if name.endswith("logps") else values


def batch_of(objective: OnlineMethod) -> tuple[Rollouts, PolicyOutputs]:
    """A generation batch and the current policy's outputs, with gradient, on the CPU."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(TOKENS // 2, TOKENS + 1, (ROWS,), generator=generator)
    logps = -torch.rand(ROWS, TOKENS, generator=generator)
    given = {name: draw(name, generator) for name in sorted(objective.needs)}
    extras = {name: value for name, value in given.items() if NEEDS[name].holder == "rollouts"}
    group, mask = torch.arange(ROWS) // GROUP, torch.arange(TOKENS) < lengths[:, None]
    rewards = (torch.rand(ROWS, 1, generator=generator) < 0.5).float()
    current = (logps + 0.1 * torch.randn(logps.shape, generator=generator)).requires_grad_()
    own = {name.removeprefix("policy."): value for name, value in given.items() if NEEDS[name].holder == "policy"}
    return Rollouts(group, mask, rewards, logps, extras), PolicyOutputs(current, own)


def objective_call(name: str) -> Callable[[], Any]:
    """Everything that a recipe computes of a generation batch that is one mini-batch, the gradient included."""
    objective = recipes.build(name)
    rollouts, policy = batch_of(objective)
    state = objective.init_state()

    def there(values: Tensor) -> Tensor:
        return values.to(DEVICE)

    def call() -> None:
        prepared = objective.prepare(rollouts, state)
        outputs, rows = policy, rollouts
        if DEVICE.type != "cpu":
            logps = there(policy.logps.detach()).requires_grad_()
            outputs = PolicyOutputs(logps, {key: there(value) for key, value in policy.extras.items()})
            parts = (there(rollouts.group), there(rollouts.mask), there(rollouts.rewards), there(rollouts.logps))
            rows = Rollouts(*parts, {key: there(value) for key, value in rollouts.extras.items()})
            fixed = {key: there(getattr(prepared, key)) for key in ("advantages", "weights", "penalty_weights")}
            carried = {key: there(value) for key, value in prepared.carried.items()}
            prepared = type(prepared)(**fixed, carried=carried, state=prepared.state)
        if objective.scope == "batch":
            prepared = objective.refine(rows, prepared, outputs)
        objective.loss(rows, prepared, outputs).backward()

    return call


def model_call() -> Callable[[], Any]:
    """Forward and backward of one row of the model, the loss a sum of log-probabilities."""
    torch.manual_seed(0)
    config = llama_config(VOCABULARY, LAYERS, WIDTH)
    config.num_attention_heads = config.num_key_value_heads = 12
    config.tie_word_embeddings = True
    model = LlamaForCausalLM(config).to(DEVICE)
    tokens = torch.randint(VOCABULARY, (1, TOKENS + 1), device=DEVICE)

    def call() -> None:
        logits = model(tokens[:, :-1]).logits
        logits.float().log_softmax(-1).gather(-1, tokens[:, 1:, None]).sum().backward()

    return call


def prepare() -> Sides:
    """GRPO's own cost, and one row of the model."""
    return objective_call("grpo"), model_call()


def table() -> dict[str, Any]:
    """Milliseconds and share in percent of each recipe, the most expensive first."""
    row = model_call()
    row()
    whole = ROWS * statistics.median(seconds(row) for _ in range(3))
    found: dict[str, float] = {}
    for name in names():
        call = objective_call(name)
        call()
        found[name] = statistics.median(seconds(call) for _ in range(3))
    ordered = sorted(found, key=lambda name: -found[name])
    return {
        "model_pass_s": round(whole, 1),
        "limit_percent": 100 * LIMIT,
        "above_limit": [name for name in ordered if found[name] > LIMIT * whole],
        "milliseconds": {name: round(1e3 * found[name], 1) for name in ordered},
        "share_percent": {name: round(100 * found[name] / whole, 4) for name in ordered},
    }


ROW = Row(
    name="objective_cost",
    work=f"prepare, refine and loss with its gradient of {ROWS} completions of {TOKENS:,} tokens, every recipe "
    "without extra passes (the ratio is GRPO's), beside a 119M-parameter Llama's forward and backward pass on one "
    "of these rows; shares are of as many rows",
    peer="torch",
    settings="the model's pass on one row, float32",
    prepare=prepare,
    reach=1 / (LIMIT * ROWS),
    threads=(2,),
    extra=table,
)
