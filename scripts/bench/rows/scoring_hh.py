"""Scoring HH answers with the MiniLM encoder beside transformers' text-classification pipeline.

The reward model has the encoder's own pooler, so that its folder is also an ordinary sequence classifier: both sides
load the same files and give the same scores for rows that are not cut. Both go from texts in memory to scores.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import torch
from transformers import pipeline

from reward_models.model import RewardModel
from scripts.bench.counting import padded
from scripts.bench.harness import Counts, Row, Sides
from scripts.bench.subjects import encoder_folder, hh_pairs

ROWS = 256
MAX_LENGTH = 512
BATCH = 16


def folder() -> str:
    """The encoder with a random head, saved."""
    torch.manual_seed(0)
    path = tempfile.mkdtemp()
    RewardModel.from_backbone(encoder_folder(), pooling="pooler").save_pretrained(path)
    return path


def ours() -> Callable[[], Any]:
    """`RewardModel.score`."""
    reward = RewardModel.from_pretrained(folder())
    pairs = hh_pairs(ROWS)
    prompts, answers = list(pairs["prompt"]), list(pairs["chosen"])
    return lambda: reward.score(prompts, answers, max_length=MAX_LENGTH)


def peer() -> Callable[[], Any]:
    """The pipeline, 16 pairs at a time."""
    classify = pipeline("text-classification", model=folder(), function_to_apply="none")
    pairs = [{"text": row["prompt"], "text_pair": row["chosen"]} for row in hh_pairs(ROWS)]
    return lambda: classify(pairs, batch_size=BATCH, truncation=True, max_length=MAX_LENGTH)


def counts() -> Counts:
    """Tokens: every token passes the same matrices. An encoder shares no prompts, so that needed is a pair's all."""
    model = RewardModel.from_pretrained(folder())
    pairs = hh_pairs(ROWS)
    prompts, answers = list(pairs["prompt"]), list(pairs["chosen"])
    theirs = [
        len(ids) for ids in model.tokenizer(prompts, answers, truncation=True, max_length=MAX_LENGTH)["input_ids"]
    ]
    rows = {tuple(row.input_ids): row for row in model.formatter(MAX_LENGTH).encode_many(prompts, answers)}
    distinct = list(rows.values())
    found = model.batches(distinct, 16 * max(len(row.input_ids) for row in distinct))
    return Counts(
        peer=padded(theirs, BATCH),
        ours=sum(bundle.batch().input_ids.numel() for bundle in found),
        needed=sum(len(row.input_ids) for row in distinct),
    )


def prepare() -> Sides:
    """Ours and the pipeline."""
    return ours(), peer()


ROW = Row(
    name="scoring_hh",
    work="scoring 256 HH answers, MiniLM encoder (22M parameters), no tree",
    peer="transformers",
    settings="text-classification pipeline, batch 16",
    prepare=prepare,
    reach=2.0,
    counts=counts,
    limit_reason="tokens of the peer's padded rows over those of each distinct row without padding",
    memory=(ours, peer),
)
