"""Tiny models and a tiny tokenizer, built from a configuration: no download, float32, the same weights for a seed.

tokenizer = tiny_tokenizer()                    one token a byte, <pad> <bos> <eos>, a chat template; 263 ids
model = tiny_llama()                            LlamaForCausalLM, hidden 32, 2 layers
backbone = tiny_llama(head=False)               the same without a language-model head
folder = save_tiny(tmp_path / "llama", tiny_llama(), tiny_tokenizer())
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Model,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

SPECIAL = ["<pad>", "<bos>", "<eos>", "<unk>", "<|system|>", "<|user|>", "<|assistant|>"]
VOCABULARY_SIZE = len(SPECIAL) + 256
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<eos>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def tiny_tokenizer(pad: bool = True, chat: bool = True, encoder: bool = False) -> PreTrainedTokenizerFast:
    """One token a byte. ``pad=False`` leaves the pad token out; ``encoder=True`` names cls and sep, and adds them."""
    vocabulary = {token: i for i, token in enumerate(SPECIAL)}
    for symbol in sorted(pre_tokenizers.ByteLevel.alphabet()):
        vocabulary[symbol] = len(vocabulary)
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    if encoder:
        core.post_processor = processors.TemplateProcessing(
            single="<bos> $A <eos>", special_tokens=[("<bos>", vocabulary["<bos>"]), ("<eos>", vocabulary["<eos>"])]
        )
    names = {"cls_token": "<bos>", "sep_token": "<eos>"} if encoder else {"bos_token": "<bos>", "eos_token": "<eos>"}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>" if pad else None,
        additional_special_tokens=[t for t in SPECIAL if t not in ("<pad>", "<unk>")],
        **names,
    )
    if chat:
        tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def tiny_llama(
    head: bool = True, hidden: int = 32, layers: int = 2, positions: int = 512, seed: int = 0
) -> PreTrainedModel:
    """A Llama with random weights, vocabulary of `tiny_tokenizer`."""
    config = LlamaConfig(
        vocab_size=VOCABULARY_SIZE,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=positions,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    torch.manual_seed(seed)
    return (LlamaForCausalLM if head else LlamaModel)(config).eval()


def tiny_gpt2(
    head: bool = True, hidden: int = 32, layers: int = 2, positions: int = 512, seed: int = 0
) -> PreTrainedModel:
    """A GPT-2 (learned absolute positions) with random weights."""
    config = GPT2Config(
        vocab_size=VOCABULARY_SIZE,
        n_embd=hidden,
        n_layer=layers,
        n_head=4,
        n_positions=positions,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    torch.manual_seed(seed)
    return (GPT2LMHeadModel if head else GPT2Model)(config).eval()


def tiny_bert(hidden: int = 32, layers: int = 2, positions: int = 512, seed: int = 0) -> PreTrainedModel:
    """A BERT encoder with random weights; use it with ``tiny_tokenizer(encoder=True)``."""
    config = BertConfig(
        vocab_size=VOCABULARY_SIZE,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=positions,
        pad_token_id=0,
    )
    torch.manual_seed(seed)
    return BertModel(config).eval()


def save_tiny(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> Path:
    """Write an ordinary model folder (config.json, model.safetensors, tokenizer files) and return it."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def with_norms_in_own_dtype(model: Any) -> Any:
    """Let a model's RMSNorms compute in its own dtype; transformers' round to float32 everywhere."""
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm"):
            gemma = type(module).__name__.startswith("Gemma")
            eps = module.eps if gemma else module.variance_epsilon
            module.forward = partial(_rms_norm, weight=module.weight, eps=eps, shift=1.0 if gemma else 0.0)
    return model


def _rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float, shift: float) -> torch.Tensor:
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * (shift + weight)
