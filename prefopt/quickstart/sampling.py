"""Completions of a policy on given prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import set_seed

from prefopt.quickstart.stages import Bar
from prefopt.trainers.policies import load_policy, load_tokenizer

ROWS = 64


@dataclass(frozen=True)
class Completions:
    """Texts and lengths in tokens, ``samples`` in a row for each prompt: completion ``i`` answers ``i // samples``."""

    texts: tuple[str, ...]
    lengths: tuple[int, ...]
    samples: int


def sample(
    folder: Path, prompts: Sequence[str], samples: int, longest: int, seed: int, bar: Bar | None = None
) -> Completions:
    """Draw ``samples`` completions a prompt at temperature 1; 0 means the one most probable completion (greedy)."""
    policy, tokenizer = load_policy(folder).eval(), load_tokenizer(folder)
    # Padding on the left lets every row continue at the same place.
    tokenizer.padding_side = "left"
    manner: dict[str, Any] = {"do_sample": False}
    if samples:
        manner = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "num_return_sequences": samples}
    set_seed(seed)
    texts: list[str] = []
    lengths: list[int] = []
    for begin in range(0, len(prompts), ROWS):
        rows = tokenizer(list(prompts[begin : begin + ROWS]), return_tensors="pt", padding=True)
        with torch.inference_mode():
            written = policy.generate(
                input_ids=rows["input_ids"],
                attention_mask=rows["attention_mask"],
                max_new_tokens=longest,
                pad_token_id=tokenizer.pad_token_id,
                **manner,
            )
        answers = written[:, rows["input_ids"].shape[1] :]
        texts += tokenizer.batch_decode(answers, skip_special_tokens=True)
        lengths += (answers != tokenizer.pad_token_id).sum(-1).tolist()
        if bar is not None:
            bar.advance(len(rows["input_ids"]))
    return Completions(tuple(texts), tuple(lengths), max(samples, 1))
