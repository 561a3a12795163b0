"""Scoring 16 responses a prompt with a decoder on a GPU beside transformers' text-classification pipeline."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, LlamaConfig, pipeline

from reward_models.heads import RewardHead
from reward_models.model import RewardModel
from scripts.bench.flops import needed, padded_rows
from scripts.bench.gpu import Load, figures, forest, peer_attention, skip, text, words
from scripts.bench.harness import Counts, Row, Sides

LOAD = Load(forest(16, 16, (128, 768), (64, 256)), together=16)


def texts(load: Load) -> tuple[list[str], list[str]]:
    """Prompts and responses, one prompt a response."""
    found = [(text(tree.prompt), text(response)) for tree in load.trees for response in tree.responses]
    return [prompt for prompt, _ in found], [response for _, response in found]


def ours(load: Load) -> Callable[[], Any]:
    """`RewardModel.score` with the attention that is chosen automatically."""
    backbone = load.backbone()
    model = RewardModel(backbone, words(), RewardHead(load.config.hidden_size), "last").to(load.device).eval()
    model.use_attention("auto")
    prompts, responses = texts(load)
    return lambda: model.score(prompts, responses, batch_size=load.together)


def peer(load: Load) -> Callable[[], Any]:
    """The pipeline, in the order given."""
    torch.manual_seed(0)
    config = LlamaConfig(**load.config.to_dict() | {"num_labels": 1})
    with torch.device(load.device):
        model = AutoModelForSequenceClassification.from_config(
            config, dtype=load.dtype, attn_implementation=peer_attention()
        ).eval()
    classify = pipeline(
        "text-classification", model=model, tokenizer=words(), function_to_apply="none", device=load.device
    )
    both = [prompt + response for prompt, response in zip(*texts(load), strict=True)]
    return lambda: classify(both, batch_size=load.together)


def sides(load: Load) -> Sides:
    """Ours and the pipeline."""
    return ours(load), peer(load)


def counts(load: Load) -> Counts:
    """Operations; ours without padding, as FlexAttention packs rows. The pipeline's texts lack the end token."""
    theirs = padded_rows([length - 1 for length in load.row_lengths()], load.together, head=False)
    least = needed(load.trees, head=False).operations(load.config)
    return Counts(theirs.operations(load.config), least, least)


ROW = Row(
    name="gpu_scoring",
    work="scoring 16 prompts of 128 to 768 tokens with 16 responses of 64 to 256, 1.2B Llama, bfloat16",
    peer="transformers",
    settings=f"text-classification pipeline, batch 16, {peer_attention()}",
    prepare=partial(sides, LOAD),
    reach=3.0,
    threads=(8,),
    runs=5,
    counts=partial(counts, LOAD),
    limit_reason="operations of the peer's padded rows over those of each distinct prompt and response once",
    skip=skip(),
    figures=lambda measured, device: figures(LOAD, counts(LOAD), measured, device),
)
