"""A tiny mixture of experts, which is written under other names than it is held."""

from __future__ import annotations

import torch
from transformers import MixtralConfig, MixtralForCausalLM, PreTrainedModel

from tests.tiny import VOCABULARY_SIZE


def tiny_experts() -> PreTrainedModel:
    """Return one layer of four experts, two a token, with the vocabulary of the tiny tokenizer."""
    config = MixtralConfig(
        vocab_size=VOCABULARY_SIZE, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_local_experts=4,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512, num_experts_per_tok=2,
        pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    torch.manual_seed(0)
    return MixtralForCausalLM(config)
