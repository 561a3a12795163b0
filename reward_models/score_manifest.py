"""What scores belong to: an input, a model, and the settings that they depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from reward_models.model import RewardModel
from reward_models.score_input import file_digest
from reward_models.scoring_settings import ScoringSettings

FORMAT = 2
# They say what to do with bad rows and what columns are called; no score depends on them.
WITHOUT_EFFECT = ("on_bad_row", "prefix", "restart")
WHAT = {
    "format": "they were kept by another version of this program",
    "input": "the input file was another one",
    "model": "the model was another one (its weights, its tokenizer or its heads have changed)",
    "heads": "the model had other heads",
    "steps": "the model divided steps otherwise",
    "layout": "the model compared answers otherwise",
}


def known_before(source: Path, settings: ScoringSettings) -> dict[str, Any]:
    """The part of a manifest that needs no model."""
    told = asdict(settings)
    del told["restart"]
    return {"format": FORMAT, "input": file_digest(source), "settings": told}


def manifest_for(model: RewardModel, source: Path, settings: ScoringSettings, parts: int) -> dict[str, Any]:
    """What the scores of one run belong to."""
    return {
        **known_before(source, settings),
        "model": model_digest(model),
        "heads": list(model.names),
        "steps": None if model.steps is None else asdict(model.steps),
        "layout": None if model.layout is None else asdict(model.layout),
        "parts": parts,
    }


def differences(kept: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Why kept scores are not what is wanted now, in words; of what only one of the two says nothing is known."""
    # Through JSON, as what is kept went: tuples are lists there.
    wanted = json.loads(json.dumps(wanted))
    reasons = [words for key, words in WHAT.items() if key in wanted and key in kept and kept[key] != wanted[key]]
    before, now = kept.get("settings", {}), wanted.get("settings", {})
    for name in now:
        if name not in WITHOUT_EFFECT and before.get(name) != now[name]:
            reasons.append(f"{name} was {before.get(name)} and is {now[name]}")
    return reasons


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
