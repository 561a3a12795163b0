"""What VeRPO's weighting costs beside a training step: the paper says less than 0.02 %, a ratio above 5,000.

Both sides work on the same batch. The step is as short as a step can be (short completions, no generation, no
reference, no grading of programs), so that the share in a real run on such a machine is smaller still. The weighting
stays on the CPU; its share beside a step on an accelerator is worked out from multiplications: see ``scaled``.

``share_percent`` is taken from the processor's time, the step's over its threads: the weighting takes a millisecond,
and by the clock a busy machine lets it wait for a hundred times as long.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import LlamaForCausalLM

from prefopt import recipes
from prefopt.batch import PolicyOutputs, Rollouts
from scripts.bench.harness import Row, Sides
from scripts.bench.subjects import llama_config

VOCABULARY, LAYERS, WIDTH = 32_000, 10, 768
PROMPTS, GROUP, PROMPT, COMPLETION, TESTS = 2, 10, 64, 64, 20
MICRO_BATCH = 10
THREADS = 2
LIMIT = 0.0002
# The paper's batch and size of model; tokens of a completion, and half of an accelerator's 1e15 a second, are ours.
LARGE_PROMPTS, LARGE_TESTS, LARGE, LONG, RATE = 32, 100, 8e9, 2_000, 5e14
TAKEN: dict[str, list[float]] = {}


def rollouts(prompts: int, tests: int) -> Rollouts:
    """Groups with random verdicts: the chance of a pass differs from test to test."""
    draw, rows = torch.Generator().manual_seed(0), prompts * GROUP
    passed = torch.rand(rows, tests, generator=draw) < torch.linspace(0.05, 0.95, tests)
    mask = torch.ones(rows, COMPLETION, dtype=torch.bool)
    logps = -torch.rand(rows, COMPLETION, generator=draw)
    group = torch.arange(prompts).repeat_interleave(GROUP)
    return Rollouts(group, mask, torch.zeros(rows, 1), logps, {"test_results": passed.float()})


def on_the_processor(name: str, call: Callable[[], Any]) -> Callable[[], Any]:
    """Keep the seconds of the processor that each call takes, all threads together."""

    def counted() -> None:
        start = time.process_time()
        call()
        TAKEN.setdefault(name, []).append(time.process_time() - start)

    return counted


def weighting(prompts: int = PROMPTS, tests: int = TESTS) -> Callable[[], Any]:
    """Test results to one advantage a completion, as in every ``prepare``."""
    advantage, batch = recipes.build("verpo").advantage, rollouts(prompts, tests)
    return on_the_processor("weighting", lambda: advantage(batch.rewards[:, 0], batch))


def step() -> Callable[[], Any]:
    """Forward, GRPO loss, backward and an AdamW step of a random decoder."""
    torch.manual_seed(0)
    config = llama_config(VOCABULARY, LAYERS, WIDTH)
    config.num_attention_heads = config.num_key_value_heads = 12
    config.tie_word_embeddings = True
    model = LlamaForCausalLM(config)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-6)
    objective, batch = recipes.build("grpo"), rollouts(PROMPTS, TESTS)
    tokens = torch.randint(VOCABULARY, (PROMPTS * GROUP, PROMPT + COMPLETION))
    prepared = objective.prepare(batch)

    def train() -> None:
        for rows in torch.arange(PROMPTS * GROUP).split(MICRO_BATCH):
            logits = model(tokens[rows], logits_to_keep=COMPLETION + 1).logits[:, :-1]
            chosen = tokens[rows, PROMPT:]
            logps = logits.log_softmax(-1).gather(-1, chosen[..., None])[..., 0]
            objective.loss(batch[rows], prepared[rows], PolicyOutputs(logps)).backward()
        optimiser.step()
        optimiser.zero_grad()

    return on_the_processor("step", train)


def prepare() -> Sides:
    """The weighting and the step."""
    return weighting(), step()


def shares() -> dict[str, Any]:
    """The weighting of the paper's batch, measured, beside an update of its size of model, by multiplications."""
    small, step_seconds = (statistics.median(TAKEN[name]) for name in ("weighting", "step"))
    TAKEN.clear()
    weigh = weighting(LARGE_PROMPTS, LARGE_TESTS)
    for _ in range(9):
        weigh()
    taken = statistics.median(TAKEN["weighting"])
    large = 6 * LARGE * LARGE_PROMPTS * GROUP * LONG / RATE
    return {
        "limit_percent": 100 * LIMIT,
        "share_percent": round(100 * small / (step_seconds / THREADS), 5),
        "large_weighting_ms": round(1e3 * taken, 2),
        "scaled_percent": round(100 * taken / large, 5),
        "scaled": f"{LARGE_PROMPTS} prompts, {GROUP} completions of {LONG:,} tokens, {LARGE_TESTS} tests, 8B "
        "parameters at 5e14 a second, without generation: the weighting measured here, the update worked out",
    }


ROW = Row(
    name="verpo_cost",
    work="VeRPO's advantages of 2 prompts, 10 completions each, 20 tests, beside one training step on them: forward, "
    "GRPO loss, backward and AdamW of a 119M-parameter Llama on 20 rows of 128 tokens",
    peer="torch",
    settings="the training step (float32; without generation, reference and grading)",
    prepare=prepare,
    reach=1 / LIMIT,
    runs=3,
    threads=(THREADS,),
    extra=shares,
)
