"""What tells one model's scores from another's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import torch

from reward_models.model import RewardModel


def model_digest(model: RewardModel) -> str:
    """What tells one model's scores from another's: every weight, the configuration, the tokenizer, the heads."""
    digest = hashlib.sha256(repr((model.names, model.pooling, model.max_length, model.steps, model.layout)).encode())
    digest.update(model.config.to_json_string().encode())
    digest.update(_tokenizer_state(model.tokenizer).encode())
    for name, tensor in _tensors(model):
        digest.update(repr((name, tuple(tensor.shape), str(tensor.dtype))).encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _tensors(model: RewardModel) -> Iterator[tuple[str, torch.Tensor]]:
    yield from sorted(model.named_parameters())
    yield from sorted(model.named_buffers())


def _tokenizer_state(tokenizer: Any) -> str:
    template = str(getattr(tokenizer, "chat_template", None))
    if not getattr(tokenizer, "is_fast", False):
        return template + json.dumps(tokenizer.get_vocab(), sort_keys=True)
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    # The last call leaves its own truncation and padding there.
    return template + json.dumps({key: state[key] for key in state if key not in ("truncation", "padding")})
