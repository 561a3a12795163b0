"""The decoder that all runs start from: trained here, on the texts of both data sets."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import AutoTokenizer, GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from scripts.offline_real.pairs import texts

FOLDER = Path(__file__).parents[2] / "runs" / "offline_real" / "decoder"
VOCABULARY, WIDTH, LAYERS, HEADS = 1024, 64, 2, 4
LONGEST, STEPS, ROWS, LEARNING_RATE, SEED = 256, 600, 16, 4e-3, 0
IGNORED = -100


def decoder() -> Path:
    """Return its folder; made first where it is not there."""
    if not (FOLDER / "loss.txt").exists():
        torch.manual_seed(SEED)
        tokenizer = _tokenizer()
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=WIDTH,
                intermediate_size=2 * WIDTH,
                num_hidden_layers=LAYERS,
                num_attention_heads=HEADS,
                num_key_value_heads=HEADS,
                max_position_embeddings=LONGEST,
                tie_word_embeddings=True,
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=tokenizer.eos_token_id,
                bos_token_id=None,
            )
        )
        model.generation_config = GenerationConfig(
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
        )
        loss = _learn(model, tokenizer)
        model.save_pretrained(FOLDER)
        tokenizer.save_pretrained(FOLDER)
        (FOLDER / "loss.txt").write_text(f"{loss:.4f}\n", encoding="utf-8")
    return FOLDER


@cache
def tokenizer_of(folder: Path) -> Any:
    """The decoder's tokenizer."""
    return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)


def fits(row: dict[str, str]) -> bool:
    """Whether prompt and longer answer lie within the decoder's length."""
    tokenizer = tokenizer_of(decoder())
    counts = {name: len(tokenizer(row[name], verbose=False)["input_ids"]) for name in ("prompt", "chosen", "rejected")}
    return bool(counts["prompt"] + max(counts["chosen"], counts["rejected"]) < LONGEST)


def _tokenizer() -> PreTrainedTokenizerFast:
    pieces = ByteLevelBPETokenizer()
    lines = [text for pair in texts() for text in pair]
    pieces.train_from_iterator(lines, VOCABULARY, special_tokens=["<pad>", "</s>"], show_progress=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=pieces._tokenizer, pad_token="<pad>", eos_token="</s>", model_max_length=LONGEST
    )


def _learn(model: LlamaForCausalLM, tokenizer: Any) -> float:
    """Minimise the cross-entropy of prompts and answers; return its mean over the last 100 steps."""
    rng = random.Random(SEED)
    rows = [
        tokenizer(prompt, verbose=False)["input_ids"] + tokenizer(answer, verbose=False)["input_ids"]
        for prompt, answer in texts()
    ]
    rows = [[*row, tokenizer.eos_token_id] for row in rows if len(row) < LONGEST]
    optimiser = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=STEPS, pct_start=0.1)
    losses = []
    for _ in range(STEPS):
        chosen = rng.sample(rows, ROWS)
        length = max(map(len, chosen))
        ids = torch.full((ROWS, length), tokenizer.pad_token_id)
        labels = torch.full((ROWS, length), IGNORED)
        for number, row in enumerate(chosen):
            ids[number, : len(row)] = labels[number, : len(row)] = torch.tensor(row)
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        schedule.step()
        losses.append(loss.item())
    return sum(losses[-100:]) / 100
