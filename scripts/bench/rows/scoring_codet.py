"""Scoring samples of a code model, 100 a prompt, with a decoder, beside transformers' text-classification pipeline.

Two of the 164 prompts, the first and the middle one: 63 tokens a prompt and 91 a sample (all: 76 and 105), 79 of 100
samples distinct (all: 76), so that a run of the peer stays under a minute. Both sides go from texts in memory to
scores; the peer reads ``prompt + sample`` as one text, cut at the same length.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from transformers import pipeline

from reward_models.backbones import ensure_pad_token
from reward_models.heads import RewardHead
from reward_models.model import RewardModel
from scripts.bench.counting import once_each, padded
from scripts.bench.harness import Counts, Row, Sides
from scripts.bench.subjects import classifier, real, tokenizer

PROMPTS = (0, 82)
MAX_LENGTH = 1024
BATCH = 16


def samples() -> tuple[list[str], list[str]]:
    """Prompts and samples, one prompt a sample."""
    lines = real("codet/humaneval_codegen16B_code_solution.jsonl").read_text(encoding="utf-8").split("\n")
    rows = [json.loads(lines[i]) for i in PROMPTS]
    return [row["prompt"] for row in rows for _ in row["samples"]], [text for row in rows for text in row["samples"]]


def ours() -> Callable[[], Any]:
    """`RewardModel.score`."""
    words = tokenizer()
    model = classifier(len(words))
    ensure_pad_token(words, model.model)
    head = RewardHead(model.config.hidden_size)
    head.weight.data.copy_(model.score.weight.data)
    reward = RewardModel(model.model, words, head, "last").eval()
    prompts, completions = samples()
    return lambda: reward.score(prompts, completions, max_length=MAX_LENGTH)


def peer() -> Callable[[], Any]:
    """The pipeline, 16 texts at a time."""
    words = tokenizer()
    model = classifier(len(words)).eval()
    model.config.pad_token_id = words.pad_token_id
    classify = pipeline("text-classification", model=model, tokenizer=words, function_to_apply="none")
    texts = [prompt + completion for prompt, completion in zip(*samples(), strict=True)]
    return lambda: classify(texts, batch_size=BATCH, truncation=True, max_length=MAX_LENGTH)


def counts() -> Counts:
    """Tokens: every token passes the same matrices."""
    words = tokenizer()
    head = RewardHead(384)
    model = RewardModel(classifier(len(words)).model, words, head, "last")
    prompts, completions = samples()
    texts = [prompt + completion for prompt, completion in zip(prompts, completions, strict=True)]
    theirs = [len(ids) for ids in words(texts, truncation=True, max_length=MAX_LENGTH)["input_ids"]]
    rows = {tuple(row.input_ids): row for row in model.formatter(MAX_LENGTH).encode_many(prompts, completions)}
    distinct = list(rows.values())
    found = model.batches(distinct, 16 * max(len(row.input_ids) for row in distinct))
    return Counts(
        peer=padded(theirs, BATCH),
        ours=sum(bundle.batch().input_ids.numel() for bundle in found),
        needed=once_each(
            [row.input_ids[: row.response_start] for row in distinct],
            [row.input_ids[row.response_start :] for row in distinct],
        ),
    )


def prepare() -> Sides:
    """Ours and the pipeline."""
    return ours(), peer()


ROW = Row(
    name="scoring_codet",
    work="scoring 2 prompts x 100 CodeT samples, 6-layer width-384 Llama",
    peer="transformers",
    settings="text-classification pipeline, batch 16",
    prepare=prepare,
    reach=5.0,
    counts=counts,
    limit_reason="tokens of the peer's padded rows over those of each distinct prompt and sample once",
    memory=(ours, peer),
)
