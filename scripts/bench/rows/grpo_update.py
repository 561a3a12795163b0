"""The GRPO update on 2 prompts with 8 completions each, beside TRL's GRPOTrainer.

Generation and rewards are not measured: both trainers get the same completions, and what is timed is loss and gradient
of all micro-batches of one generation batch.
"""

from __future__ import annotations

import random
import tempfile
import warnings
from functools import partial
from typing import Any

import torch
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from prefopt.trainers.online import OnlineConfig, OnlineTrainer
from prefopt.trainers.shared_prompts import cheapest
from reward_models.prefix_tree import Tree, TreeBatch
from scripts.bench.harness import Counts, Row, Sides
from scripts.bench.subjects import decoder, llama_config, tokenizer

PROMPTS, GROUP, PROMPT_TOKENS = 2, 8, 256
SHORTEST, LONGEST = 16, 128
FIRST_WORD = 1000
COMMON = {
    "num_generations": GROUP,
    "max_completion_length": LONGEST,
    "use_cpu": True,
    "report_to": "none",
    "disable_tqdm": True,
    "save_strategy": "no",
    "bf16": False,
    "disable_dropout": True,
}


def completion_lengths() -> list[int]:
    """Tokens of each completion, prompt after prompt."""
    draw = random.Random(0)
    return [draw.randint(SHORTEST, LONGEST) for _ in range(PROMPTS * GROUP)]


def rollouts(vocabulary: int, asked: list[str], trainer: Any) -> dict[str, Any]:
    """Random tokens: prompt i is what generator i gives, completion k of all what generator 100 + k gives."""

    def tokens(seed: int, count: int) -> list[int]:
        generator = torch.Generator().manual_seed(seed)
        return torch.randint(FIRST_WORD, vocabulary, (count,), generator=generator).tolist()

    return {
        "prompt_ids": [tokens(int(prompt), PROMPT_TOKENS) for prompt in asked],
        "completion_ids": [tokens(100 + k, length) for k, length in enumerate(completion_lengths())],
        "logprobs": None,
    }


def odd(completions: list[str], completion_ids: list[list[int]], **_: Any) -> list[float]:
    """A reward that differs within a group."""
    return [float(ids[0] % 7) for ids in completion_ids]


class Side:
    """A trainer with one generation batch; a call gives loss and gradient of all its micro-batches."""

    def __init__(self, trainer: GRPOTrainer, prompts: int = PROMPTS, group: int = GROUP) -> None:
        self.trainer, self.loss = trainer, 0.0
        trainer.model.train()
        trainer.current_gradient_accumulation_steps = trainer.args.gradient_accumulation_steps
        trainer._prepare_inputs([{"prompt": str(i)} for i in range(prompts) for _ in range(group)])

    def __call__(self) -> None:
        self.trainer.model.zero_grad()
        self.loss = 0.0
        for batch in self.trainer._buffered_inputs:
            loss = self.trainer.compute_loss(self.trainer.model, batch)
            loss.backward()
            self.loss += float(loss.detach())


SIDES: list[Side] = []


def build(rows: int, ours: bool, **settings: Any) -> GRPOTrainer:
    """One trainer, ours or TRL's, on the same random decoder; ``rows`` completions a micro-batch."""
    words = tokenizer()
    data = Dataset.from_dict({"prompt": [str(i) for i in range(PROMPTS)]})
    common = {
        **COMMON,
        "output_dir": tempfile.mkdtemp(),
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": PROMPTS * GROUP // rows,
        **settings,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        args = OnlineConfig(recipe="grpo", **common) if ours else GRPOConfig(loss_type="grpo", **common)
        return (OnlineTrainer if ours else GRPOTrainer)(
            decoder(len(words)), [odd], args, data, processing_class=words, rollout_func=partial(rollouts, len(words))
        )


def side(ours: bool) -> Side:
    """Ours or TRL's, micro-batches of 8 completions."""
    return Side(build(8, True) if ours else build(8, False, activation_checkpointing=False))


def prepare() -> Sides:
    """Ours and TRL."""
    SIDES[:] = [side(True), side(False)]
    return SIDES[0], SIDES[1]


def agreement() -> dict[str, float]:
    """How far losses and gradients of the last runs are from each other; both are to be below 1e-5."""
    ours, peer = SIDES
    pairs = zip(ours.trainer.model.parameters(), peer.trainer.model.parameters(), strict=True)
    furthest = max(float((one.grad - other.grad).abs().max()) for one, other in pairs)
    if max(abs(ours.loss - peer.loss), furthest) > 1e-5:
        raise AssertionError(f"losses are {ours.loss} and {peer.loss}, gradients differ by {furthest:.1e}")
    return {"loss_difference": abs(ours.loss - peer.loss), "gradient_difference": furthest}


def counts() -> Counts:
    """Multiplications in layers and head; attention is left out.

    The peer computes every prompt for every completion, pads to the longest completion, sends prompts through the head
    as well, and computes the head's logits again in the backward pass: four products a token in place of three.
    """
    config = llama_config(len(tokenizer()))
    layers = config.num_hidden_layers * (4 * config.hidden_size + 3 * config.intermediate_size)
    lengths = completion_lengths()
    padded = PROMPTS * GROUP * (PROMPT_TOKENS + max(lengths))
    needed = PROMPTS * PROMPT_TOKENS + sum(lengths)
    groups = [lengths[i : i + GROUP] for i in range(0, len(lengths), GROUP)]
    trees = [Tree([0] * PROMPT_TOKENS, [[0] * length for length in group]) for group in groups]
    batches = [cheapest(tree, config.hidden_size) for tree in trees]
    ours = sum(TreeBatch.collate(batch).input_ids.numel() for batch in batches)
    head = config.vocab_size * sum(lengths)
    return Counts(
        peer=3 * layers * padded + 4 * config.vocab_size * padded,
        ours=3 * (layers * ours + head),
        needed=3 * (layers * needed + head),
    )


ROW = Row(
    name="grpo_update",
    work="GRPO loss and gradient, 2 prompts of 256 tokens, 8 completions of 16 to 128 tokens each, 6-layer width-384 "
    "Llama, micro-batches of 8 completions; without generation and rewards",
    peer="trl",
    settings="GRPOTrainer, loss_type grpo (float32, no checkpointing on either side)",
    prepare=prepare,
    memory=(partial(side, True), partial(side, False)),
    reach=2.5,
    runs=3,
    counts=counts,
    limit_reason="multiplications in layers and head, the peer's over those needed (3.49 in tokens alone); the peer's "
    "other passes over the logits of prompts and padding come on top",
    extra=agreement,
)
