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
WEIGHTS = (".safetensors", ".safetensors.index.json")
NO_WEIGHTS = ("optimizer", "scheduler", "rng_state", "training_args", "scaler")
IMPLEMENTATIONS = ("attn_implementation", "experts_implementation")
FILES_OF_ADAPTERS = ("cache_file", "covariance_file", "prompt_tuning_init_state_dict_path", "megatron_core", "adapters")
OTHER_SETTINGS, OTHER_WEIGHTS = "configuration_files", "transformers_weights"
"""Where a config.json sends transformers to other settings, or to weights of another name."""


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
            fetched from a hub, which is code; other settings or weights elsewhere that would be read in place of
            these; an adapter that names modules, pickles or other adapters to load.
    """
    for file in (folder / "config.json", folder / ADAPTER):
        if not file.exists():
            continue
        for names, value in _settings(read_settings(file)):
            key = next((name for name in names if name.lstrip("_").removesuffix("_internal") in IMPLEMENTATIONS), None)
            if key is not None and "/" in str(value):
                raise ModelError(
                    f"{file}: {key} is {value!r}, a kernel that would be fetched and run; remove the key: the "
                    "implementation is chosen here"
                )
            if OTHER_SETTINGS in names:
                raise ModelError(f"{file}: {OTHER_SETTINGS} names {value!r}, to be read in its place; remove it")
            if OTHER_WEIGHTS in names and value is not None and not _is_plain(value, WEIGHTS):
                raise ModelError(f"{file}: {OTHER_WEIGHTS} names {value!r}, and not weights of this folder; remove it")
            key = next((name for name in names if name in FILES_OF_ADAPTERS), None)
            if file.name == ADAPTER and key is not None and value and value != "megatron.core":
                raise ModelError(f"{file}: {key} names {value!r}, which would be loaded; remove the key")


def check_adapter(folder: Path) -> None:
    """Refuse an adapter whose weights are no safetensors. Raises ``ModelError`` as `check_weights` does."""
    check_weights(folder, ADAPTER_WEIGHTS)


def _check_index(index: Path) -> None:
    named = read_settings(index).get("weight_map")
    if not isinstance(named, Mapping):
        raise ModelError(f"{index} has no weight_map; save the model again")
    held = {file.name for file in index.parent.iterdir() if file.is_file()}
    for name in {str(name): name for name in named.values()}.values():
        if not _is_plain(name, (".safetensors",)):
            raise ModelError(
                f"{index} names {name!r}: weights must be safetensors files in the same folder, by plain names"
            )
        if name not in held:
            raise ModelError(f"{index} names {name}, which is not there; the folder is incomplete")


def _is_plain(name: Any, endings: tuple[str, ...]) -> bool:
    """A name with a folder in it, "..", or an absolute path reads a file that is not the model's."""
    return isinstance(name, str) and Path(name).name == name and "\\" not in name and name.endswith(endings)


def read_settings(file: Path) -> dict[str, Any]:
    """Read a file of settings. Raises ``ModelError`` where it is no JSON object."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{file} is not valid JSON: {error}") from error
    if not isinstance(found, dict):
        raise ModelError(f"{file} is not valid: expected an object with settings")
    return found


def _settings(settings: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value that holds no others, at any depth, with the names that lead to it."""
    waiting: list[tuple[tuple[str, ...], Any]] = [((), settings)]
    while waiting:
        names, value = waiting.pop()
        if isinstance(value, Mapping):
            waiting += [((*names, name), one) for name, one in value.items()]
        elif isinstance(value, list):
            waiting += [(names, one) for one in value]
        else:
            yield names, value
