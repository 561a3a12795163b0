"""Forward and backward pass of a decoder over trees: FlexAttention in one packed row, SDPA in padded rows, plain rows.

This is what the automatic choice of `reward_models.attention_choice` rests on. The row's ratio is SDPA's time over
FlexAttention's; ``choices`` of the result has seconds of all three by the tokens of a prompt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from reward_models.prefix_tree import Tree, TreeBatch
from reward_models.tree_attention import row_width
from scripts.bench.flops import TRAINING, Passed, needed
from scripts.bench.gpu import Load, figures, forest, skip
from scripts.bench.harness import Counts, Row, Sides, seconds

PROMPTS = (128, 512, 2048)
LOAD = Load(forest(4, 8, (512, 512), (64, 256)))


def work(load: Load, attention: str, share: bool = True) -> Callable[[], float]:
    """A forward and backward pass over all trees, whose last states are summed; returns the gradients' norm."""
    model = load.backbone(attention).train()
    trees = load.trees
    if not share:
        trees = [Tree(tree.prompt, [response]) for tree in trees for response in tree.responses]
    batch = TreeBatch.collate(trees, width=row_width(model.config) if share else None).to(load.device)

    def run() -> float:
        model.zero_grad()
        hidden = model(**batch.model_inputs(model.config, model.dtype)).last_hidden_state
        batch.last_states(hidden).float().square().sum().backward()
        return float(torch.nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None]))

    return run


def sides(load: Load) -> Sides:
    """FlexAttention and SDPA, both on trees."""
    return work(load, "flex_attention"), work(load, "sdpa")


def counts(load: Load) -> Counts:
    """Operations: dense rows attend to every pair of their tokens, seen or not."""
    rows, longest = len(load.trees), max(map(len, load.trees))
    least = needed(load.trees, head=False).operations(load.config)
    dense = Passed(rows * longest, rows * longest**2).operations(load.config)
    return Counts(TRAINING * dense, TRAINING * least, TRAINING * least)


def choices(prompts: tuple[int, ...] = PROMPTS) -> dict[str, Any]:
    """Seconds of each choice, the best of three runs after one to compile."""
    found = []
    for tokens in prompts:
        load = replace(LOAD, trees=forest(4, 8, (tokens, tokens), (64, 256)))
        one: dict[str, Any] = {"prompt_tokens": tokens, "longest": load.longest()}
        for name, attention, share in (
            ("flex_s", "flex_attention", True),
            ("sdpa_s", "sdpa", True),
            ("plain_rows_s", "sdpa", False),
        ):
            run = work(load, attention, share)
            run()
            one[name] = round(min(seconds(run) for _ in range(3)), 4)
            del run
        found.append(one)
    return {"choices": found}


ROW = Row(
    name="gpu_attention",
    work="forward and backward pass, 4 prompts of 512 tokens with 8 responses of 64 to 256, 1.2B Llama, bfloat16",
    peer="torch",
    settings="SDPA with a dense mask, a row a tree",
    prepare=partial(sides, LOAD),
    reach=1.0,
    threads=(8,),
    runs=5,
    counts=partial(counts, LOAD),
    limit_reason="operations of dense masks over those of pairs that are seen",
    skip=skip("triton"),
    extra=choices,
    figures=lambda measured, device: figures(LOAD, counts(LOAD), measured, device),
)
