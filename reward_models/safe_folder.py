"""What a model's folder must not hold: pickled weights, names that lead out of it, code from elsewhere.

A folder comes from other people. Its tensors are read from safetensors and its settings from JSON, neither of which can
run anything. Code beside them (``auto_map``) is left unread by ``trust_remote_code=False``; the rest is refused here,
before a library opens the folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from reward_models.errors import ModelError

ADAPTER, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt", "*.pickle")
NO_WEIGHTS = ("optimizer", "scheduler", "rng_state", "training_args", "scaler")
IMPLEMENTATIONS = ("attn_implementation", "experts_implementation")
FILES_OF_ADAPTERS = ("cache_file", "covariance_file", "prompt_tuning_init_state_dict_path", "megatron_core")


def check_weights(folder: Path, pattern: str = "*.safetensors") -> None:
    """Refuse a folder without safetensors, and what `check_settings` refuses.

    Raises:
        ModelError: no weights, or pickled ones; an index that names a file elsewhere; see `check_settings`.
    """
    check_settings(folder)
    if not any(folder.glob(pattern)):
        pickled = sorted(file.name for kind in PICKLES for file in folder.glob(kind))
        pickled = [name for name in pickled if not name.startswith(NO_WEIGHTS)]
        if pickled:
            raise ModelError(
                f"{folder} holds its weights as a pickle ({pickled[0]}), which can run code and is never opened here; "
                "convert it to safetensors, in a place where that code may run"
            )
        raise ModelError(f"{folder} has no weights ({pattern}); a model is never started from random weights here")
    for index in sorted(folder.glob("*.safetensors.index.json")):
        _check_index(index)


def check_settings(folder: Path) -> None:
    """Refuse settings that are no JSON object, or that would fetch code.

    Raises:
        ModelError: a config.json or adapter_config.json that cannot be read; an attention implementation that is
            fetched from a hub, which is code; an adapter that names modules or pickles to load.
    """
    for file in (folder / "config.json", folder / ADAPTER):
        if not file.exists():
            continue
        for key, value in _settings(_json(file)):
            if key.lstrip("_").removesuffix("_internal") in IMPLEMENTATIONS and "/" in str(value):
                raise ModelError(
                    f"{file}: {key} is {value!r}, a kernel that would be fetched and run; remove the key: the "
                    "implementation is chosen here"
                )
            if file.name == ADAPTER and key in FILES_OF_ADAPTERS and value and value != "megatron.core":
                raise ModelError(f"{file}: {key} names {value!r}, which would be loaded; remove the key")


def check_adapter(folder: Path) -> None:
    """Refuse an adapter whose weights are no safetensors. Raises ``ModelError`` as `check_weights` does."""
    check_weights(folder, ADAPTER_WEIGHTS)


def _check_index(index: Path) -> None:
    named = _json(index).get("weight_map")
    if not isinstance(named, Mapping):
        raise ModelError(f"{index} has no weight_map; save the model again")
    for name in dict.fromkeys(named.values()):
        # A name with a folder in it, "..", or an absolute path reads a file that is not the model's.
        if not isinstance(name, str) or Path(name).name != name or "\\" in name or not name.endswith(".safetensors"):
            raise ModelError(
                f"{index} names {name!r}: weights must be safetensors files in the same folder, by plain names"
            )
        if not (index.parent / name).is_file():
            raise ModelError(f"{index} names {name}, which is not there; the folder is incomplete")


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{file} is not valid JSON: {error}") from error
    if not isinstance(found, dict):
        raise ModelError(f"{file} is not valid: expected an object with settings")
    return found


def _settings(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Keys with their values, those of settings within settings too; a mapping counts as its values."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from ((key, one) for one in value.values() if isinstance(one, str))
            yield from _settings(value)
        else:
            yield key, value
