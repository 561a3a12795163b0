"""The GRPO update on a GPU beside TRL's GRPOTrainer with SDPA or FlashAttention; generation is not measured."""

from __future__ import annotations

import tempfile
import warnings
from collections import Counter
from functools import partial
from typing import Any

from scripts.bench.flops import TRAINING, Passed, needed, triangle
from scripts.bench.gpu import Load, figures, forest, peer_attention, skip, words
from scripts.bench.harness import Counts, Row, Sides

LOAD = Load(forest(4, 8, (512, 512), (64, 512), seed=2), together=8)


def rollouts(load: Load, asked: list[str], trainer: Any) -> dict[str, Any]:
    """The load's prompts and responses; a prompt is asked for by its number."""
    taken: Counter[int] = Counter()
    found: dict[str, Any] = {"prompt_ids": [], "completion_ids": [], "logprobs": None}
    for number in map(int, asked):
        tree = load.trees[number]
        found["prompt_ids"].append(list(tree.prompt))
        found["completion_ids"].append(list(tree.responses[taken[number] % len(tree.responses)]))
        taken[number] += 1
    return found


def build(load: Load, ours: bool) -> Any:
    """One trainer, ours or TRL's, with one generation batch; see `grpo_update.Side`."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    from prefopt.trainers.online import OnlineConfig, OnlineTrainer
    from scripts.bench.rows.grpo_update import Side, odd

    group = len(load.trees[0].responses)
    common = load.arguments | {
        "output_dir": tempfile.mkdtemp(),
        "num_generations": group,
        "max_completion_length": max(len(response) for tree in load.trees for response in tree.responses),
        "per_device_train_batch_size": load.together,
        "gradient_accumulation_steps": len(load.trees) * group // load.together,
        "disable_dropout": True,
    }
    data = Dataset.from_dict({"prompt": [str(i) for i in range(len(load.trees))]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if ours:
            args: Any = OnlineConfig(recipe="grpo", **common)
        else:
            args = GRPOConfig(loss_type="grpo", activation_checkpointing=False, **common)
        policy = load.policy("sdpa" if ours else peer_attention())
        trainer = (OnlineTrainer if ours else GRPOTrainer)(
            policy, [odd], args, data, processing_class=words(), rollout_func=partial(rollouts, load)
        )
    return Side(trainer, len(load.trees), group)


def sides(load: Load) -> Sides:
    """Ours and TRL."""
    return build(load, True), build(load, False)


def counts(load: Load) -> Counts:
    """Operations; the peer pads to the longest of all, and runs its head over every token and once more going back."""
    responses = [response for tree in load.trees for response in tree.responses]
    row = max(len(tree.prompt) for tree in load.trees) + max(map(len, responses))
    padded = Passed(len(responses) * row, len(responses) * triangle(row), len(responses) * row)
    again = Passed(predicting=padded.predicting).operations(load.config)
    least = TRAINING * needed(load.trees, head=True).operations(load.config)
    return Counts(TRAINING * padded.operations(load.config) + again, least, least)


ROW = Row(
    name="gpu_grpo_update",
    work="GRPO loss and gradient, 4 prompts of 512 tokens, 8 completions of 64 to 512 each, micro-batches of 8 "
    "completions, 1.2B Llama, bfloat16; without generation and rewards",
    peer="trl",
    settings=f"GRPOTrainer, loss_type grpo, {peer_attention()} (no checkpointing on either side)",
    prepare=partial(sides, LOAD),
    reach=2.0,
    threads=(8,),
    counts=partial(counts, LOAD),
    limit_reason="operations of the peer over those needed: no padding, each prompt once, the head over "
    "completions alone",
    skip=skip("trl", "datasets", "accelerate"),
    figures=lambda measured, device: figures(LOAD, counts(LOAD), measured, device),
)
