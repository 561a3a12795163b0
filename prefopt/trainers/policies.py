"""Loading a policy: never with silently random weights, always with a usable pad token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from prefopt.errors import UserError
from reward_models.backbones import UNLOADABLE, first_line, load_config, load_tokenizer, locate, position_limit
from reward_models.errors import ModelError
from reward_models.folder import quiet
from reward_models.safe_folder import check_weights

__all__ = ["check_policy", "context_limit", "load_policy", "load_tokenizer", "policy_config", "prepare_tokenizer"]

LONGEST = 2048


def check_policy(name: str | Path) -> Path:
    """Return the folder of a policy. Raises ``UserError`` where it has no configuration or no weights."""
    folder = locate(name)
    if not (folder / "config.json").exists():
        adapter = (folder / "adapter_config.json").exists()
        hint = "it is an adapter: train with merge_adapter to write a whole model" if adapter else "name a model folder"
        raise UserError(f"{folder} has no config.json; {hint}")
    try:
        check_weights(folder)
    except ModelError as error:
        raise UserError(str(error)) from error
    return folder


def policy_config(name: str | Path) -> Any:
    """Return the settings of a policy before its weights are read. Raises ``UserError`` as `check_policy` does."""
    try:
        return load_config(check_policy(name))
    except ModelError as error:
        raise UserError(str(error)) from error


def load_policy(name: str | Path, dtype: str = "float32") -> Any:
    """Load a causal language model with every weight of its architecture."""
    folder = check_policy(name)
    with quiet():
        try:
            model, report = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype="auto" if dtype == "auto" else getattr(torch, dtype),
                output_loading_info=True,
                use_safetensors=True,
                trust_remote_code=False,
            )
        except UNLOADABLE as error:
            raise UserError(f"{folder} cannot be loaded as a causal language model: {first_line(error)}") from error
    wrong = sorted(report["missing_keys"]) or sorted(map(str, report.get("mismatched_keys") or []))
    if wrong:
        raise UserError(f"{folder} lacks {len(wrong)} weights of its architecture, the first is {wrong[0]}")
    return model


def prepare_tokenizer(tokenizer: Any) -> int:
    """Return the id to pad with, and name a pad token where the tokenizer has none.

    Padding is found from masks alone, so the end token serves; the model's vocabulary stays as it is.
    """
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    return int(tokenizer.pad_token_id) if tokenizer.pad_token_id is not None else 0


def context_limit(tokenizer: Any, config: Any, max_length: int | None) -> int:
    """Return the longest sequence of a run. Raises ``UserError`` where ``max_length`` exceeds what the model takes."""
    limit = position_limit(tokenizer, config)
    if max_length is not None and limit is not None and max_length > limit:
        raise UserError(f"max_length={max_length} exceeds the model's context of {limit} tokens")
    return max_length or min(limit or LONGEST, LONGEST)
