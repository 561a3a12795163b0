"""How a reward model lies on disk: which files hold what, and how they are read back and verified."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

from reward_models.errors import ModelError
from reward_models.process import Trunk
from reward_models.safe_folder import read_settings
from reward_models.whole_files import replace_json

HEAD_INFO = "reward_head.json"
HEAD_WEIGHTS = "reward_head.safetensors"
ADAPTER_INFO = "adapter_config.json"
TRUNK = "trunk.safetensors"
GOAL = "goal.safetensors"
NOT_GATED = (
    "explain writes what each attribute counts in a gated score, and this model has no gate; leave explain out, or "
    "train one with `prefopt train-reward --loss armo`"
)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' load report and shard bars: what is missing is checked here and raised."""
    level, bars = transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(level)
        if bars:
            transformers.logging.enable_progress_bar()


def classifier_shell(config: Any, heads: int, pooling: str) -> tuple[Any, str] | None:
    """transformers' own sequence classifier for this backbone (on the meta device) and its head's name, if it agrees.

    It agrees where that class reads the same state through one linear layer: ``score`` on the last token of a
    decoder, or ``classifier`` on an encoder's pooler (its bias is saved as zero). An encoder's mean or first hidden
    state is read by no such class.
    """
    if type(config) not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        return None
    config = copy.deepcopy(config)
    config.num_labels = heads
    with torch.device("meta"), quiet():
        shell = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(config)](config)
    own = {key for key in shell.state_dict() if not key.startswith(shell.base_model_prefix + ".")}
    if pooling == "last" and own == {"score.weight"}:
        return shell, "score.weight"
    if pooling == "pooler" and own == {"classifier.weight", "classifier.bias"}:
        return shell, "classifier.weight"
    return None


def foreign_head(config: Any) -> str | None:
    """Name of a tensor that transformers' sequence classifier for this backbone would expect."""
    if type(config) not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        return None
    with torch.device("meta"), quiet():
        shell = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(config)](copy.deepcopy(config))
    own = sorted(key for key in shell.state_dict() if not key.startswith(shell.base_model_prefix + "."))
    return own[-1] if own else None


def write_whole(
    folder: Path, backbone: Any, head: Tensor, pooling: str, state: dict[str, Tensor] | None, linear: bool = True
) -> str:
    """Write config.json and the weights; return the file-independent name of the head's tensor.

    ``linear``: the head reads the pooled state itself, as transformers' own classifiers do.
    """
    found = classifier_shell(backbone.config, len(head), pooling) if linear else None
    state = backbone.state_dict() if state is None else state
    with quiet():
        if found is not None:
            shell, name = found
            setattr(shell, shell.base_model_prefix, backbone)
            tensors = {f"{shell.base_model_prefix}.{key}": value for key, value in state.items()}
            tensors[name] = head
            if name == "classifier.weight":
                tensors["classifier.bias"] = torch.zeros(len(head))
            shell.save_pretrained(folder, state_dict=tensors)
            return name
        # A sequence classifier loaded from this folder would get a random head with only a warning: a tensor of an
        # impossible shape under its head's name turns that into an error.
        refusal = foreign_head(backbone.config)
        extra = {} if refusal is None else {refusal: torch.zeros(0)}
        backbone.save_pretrained(folder, state_dict={**state, **extra})
    save_file({"score.weight": head.contiguous()}, folder / HEAD_WEIGHTS, metadata={"format": "pt"})
    return "score.weight"


def trunk_state(trunk: Any, state_dict: dict[str, Tensor] | None) -> dict[str, Tensor] | None:
    """Return the weights of the layer before the heads, from the gathered ones where they are given."""
    if trunk is None:
        return None
    begin = "score_head.trunk."
    own = trunk.state_dict() if state_dict is None else {
        key.removeprefix(begin): value for key, value in state_dict.items() if key.startswith(begin)
    }  # fmt: skip
    return {key: value.detach().cpu().contiguous() for key, value in own.items()}


def write_trunk(folder: Path, state: dict[str, Tensor]) -> None:
    """Write the layer before the heads."""
    save_file(state, folder / TRUNK, metadata={"format": "pt"})


def read_trunk(folder: Path, size: int) -> Trunk:
    """Read what `write_trunk` wrote. Raises ``ModelError`` where the file is absent or of another shape."""
    if not (folder / TRUNK).exists():
        raise ModelError(f"{folder} has a layer before its heads and no {TRUNK}")
    trunk = Trunk(size)
    try:
        trunk.load_state_dict(load_file(folder / TRUNK))
    except (RuntimeError, SafetensorError) as error:
        raise ModelError(f"{folder / TRUNK} does not fit the model: {error}") from error
    return trunk


def write_goal(folder: Path, goal: Tensor) -> None:
    """Write the state that good answers end in."""
    save_file({"goal": goal.detach().float().cpu().contiguous()}, folder / GOAL, metadata={"format": "pt"})


def read_goal(folder: Path, size: int) -> Tensor | None:
    """Read what `write_goal` wrote; None where there is none. Raises ``ModelError`` for one of another size."""
    if not (folder / GOAL).exists():
        return None
    try:
        goal: Tensor = load_file(folder / GOAL)["goal"]
    except (KeyError, SafetensorError) as error:
        raise ModelError(f"{folder / GOAL} is damaged: {error}") from error
    if goal.shape != (size,):
        raise ModelError(f"{folder / GOAL} has shape {tuple(goal.shape)}, the model's states have {size} numbers")
    return goal


def write_adapter(folder: Path, backbone: Any, head: Tensor, state: dict[str, Tensor] | None) -> str:
    """Write a PEFT adapter and, beside it, the head."""
    with quiet():
        backbone.save_pretrained(folder, state_dict=state, save_embedding_layers=False)
        backbone.config.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)  # PEFT's empty template
    save_file({"score.weight": head.contiguous()}, folder / HEAD_WEIGHTS, metadata={"format": "pt"})
    return "score.weight"


def read_head(folder: Path, name: str) -> Tensor:
    """Read the head's tensor from the folder.

    Raises:
        ModelError: no file of the folder holds it.
    """
    files = [folder / HEAD_WEIGHTS, *sorted(folder.glob("model*.safetensors"))]
    for file in files:
        if file.exists():
            try:
                with safe_open(file, framework="pt") as handle:
                    if name in handle.keys():  # noqa: SIM118 (a safetensors handle is no mapping)
                        return handle.get_tensor(name)
            except SafetensorError as error:
                raise ModelError(f"{file} is damaged, or no safetensors file: {error}") from error
    raise ModelError(
        f"{folder} holds no reward head (no tensor '{name}' in {HEAD_WEIGHTS} or model*.safetensors). A plain language "
        "model is a backbone: train it with `prefopt train-reward`, or start from RewardModel.from_backbone."
    )


def read_info(folder: Path) -> dict[str, Any] | None:
    """Read reward_head.json; None where the folder has none (an ordinary sequence classifier)."""
    file = folder / HEAD_INFO
    return read_settings(file) if file.exists() else None


def check_gated(folder: Path) -> None:
    """Raise ``ModelError`` where the folder's model mixes no attributes, before it is loaded."""
    if "mixture" not in (read_info(folder) or {}):
        raise ModelError(f"{folder}: {NOT_GATED}")


def update_info(folder: Path, values: dict[str, Any]) -> None:
    """Add values to reward_head.json, in one step.

    Raises:
        ModelError: the folder has no such file.
    """
    info = read_info(folder)
    if info is None:
        raise ModelError(f"{folder} has no {HEAD_INFO}: it is no reward model of this library; save it as one first")
    replace_json(folder / HEAD_INFO, info | values)


def verify_head(folder: Path, name: str, head: Tensor) -> None:
    """Reload the head that was just written and compare it bit for bit."""
    written = read_head(folder, name)
    if written.dtype != head.dtype or not torch.equal(written, head):
        raise ModelError(f"{folder}: the reward head on disk differs from the one in memory; the save is not usable")
