"""A reward model's folder: everything that is needed to score with it again, and nothing that runs."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from reward_models import folder as layout
from reward_models.backbones import (
    UNLOADABLE,
    ensure_pad_token,
    first_line,
    load_backbone,
    load_tokenizer,
    locate,
)
from reward_models.errors import ModelError
from reward_models.heads import RewardHead
from reward_models.multi_objective.mixture import Mixture
from reward_models.network import RewardNetwork
from reward_models.process import StepReading
from reward_models.reference import ReferenceLayout
from reward_models.safe_folder import check_adapter, check_weights

Network = TypeVar("Network", bound=RewardNetwork)


def load(kind: type[Network], name: str | Path, dtype: torch.dtype | str, trainable_adapter: bool) -> Network:
    """Read a whole folder, a PEFT adapter's, or an ordinary decoder sequence classifier.

    Raises:
        ModelError: no weights, or no head; heads are never made up here.
    """
    path = locate(name)
    (check_adapter if (path / layout.ADAPTER_INFO).exists() else check_weights)(path)
    info = layout.read_info(path) or {}
    tensor = layout.read_head(path, info.get("tensor", "score.weight")).float()
    count = len(tensor)
    names = tuple(info.get("heads", ["score"] if count == 1 else [f"score_{i}" for i in range(count)]))
    if len(names) != count:
        raise ModelError(f"{path}: {layout.HEAD_INFO} names {len(names)} heads, the weights have {count}")
    tokenizer = load_tokenizer(path)
    if (path / layout.ADAPTER_INFO).exists():
        backbone = _load_adapter(path, info.get("pooling"), dtype, tokenizer, trainable_adapter)
    else:
        backbone = load_backbone(path, info.get("pooling", "last"), dtype)
        ensure_pad_token(tokenizer, backbone)
    head = RewardHead(tensor.shape[1], names)
    head.weight.data.copy_(tensor)
    if info.get("trunk"):
        head.trunk = layout.read_trunk(path, tensor.shape[1])
    model = kind(backbone, tokenizer, head, info.get("pooling") or "last")
    model.statistics = info.get("statistics", {})
    model.temperature = info.get("temperature")
    model.max_length = info.get("max_length")
    model.start = info.get("start")
    if "steps" in info:
        model.steps = _described(StepReading, info["steps"], path)
    if "layout" in info:
        model.layout = _described(ReferenceLayout, info["layout"], path)
    model.goal = layout.read_goal(path, tensor.shape[1])
    if "mixture" in info:
        model.mixture = Mixture.load(path, info["mixture"])
    return model.eval()


def save(model: RewardNetwork, path: Path, state_dict: dict[str, Tensor] | None = None) -> None:
    """Write the folder, then reload the head from it and compare bit for bit; see `RewardModel.save_pretrained`."""
    path.mkdir(parents=True, exist_ok=True)
    state = None
    head = model.score_head.weight.detach().cpu().contiguous()
    if state_dict is not None:
        head = state_dict["score_head.weight"].detach().cpu().contiguous()
        state = {k.removeprefix("backbone."): v for k, v in state_dict.items() if k.startswith("backbone.")}
    trunk = layout.trunk_state(model.score_head.trunk, state_dict)
    if model.is_adapter:
        name = layout.write_adapter(path, model.backbone, head, state)
    else:
        name = layout.write_whole(path, model.backbone, head, model.pooling, state, linear=trunk is None)
    if trunk is not None:
        layout.write_trunk(path, trunk)
    model.tokenizer.save_pretrained(path)
    info = {
        "heads": list(model.score_head.names),
        "pooling": model.pooling,
        "tensor": name,
        "max_length": model.max_length,
        "statistics": model.statistics,
        "temperature": model.temperature,
        **({} if model.start is None else {"start": model.start}),
        **({} if model.mixture is None else {"mixture": model.mixture.form}),
        **({} if model.steps is None else {"steps": asdict(model.steps)}),
        **({} if model.layout is None else {"layout": asdict(model.layout)}),
        **({} if trunk is None else {"trunk": True}),
    }
    if model.goal is not None:
        layout.write_goal(path, model.goal)
    if model.mixture is not None:
        model.mixture.save(path)
    (path / layout.HEAD_INFO).write_text(json.dumps(info, indent=2) + "\n", encoding="utf-8")
    layout.verify_head(path, name, head)


def _described(kind: type[Any], values: Any, path: Path) -> Any:
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise ModelError(f"{path / layout.HEAD_INFO} does not describe a {kind.__name__}: {error}") from error


def _load_adapter(path: Path, pooling: str | None, dtype: Any, tokenizer: Any, trainable: bool) -> Any:
    from peft import PeftConfig, PeftModel

    check_adapter(path)
    try:
        base = PeftConfig.from_pretrained(str(path)).base_model_name_or_path
    except UNLOADABLE as error:
        raise ModelError(f"{path}: the adapter cannot be loaded: {first_line(error)}") from error
    if not base or not isinstance(base, str):
        raise ModelError(f"{path / layout.ADAPTER_INFO} names no base model; set base_model_name_or_path")
    backbone = load_backbone(base, pooling, dtype)
    ensure_pad_token(tokenizer, backbone)
    try:
        return PeftModel.from_pretrained(backbone, str(path), is_trainable=trainable)
    except UNLOADABLE as error:
        raise ModelError(f"{path}: the adapter cannot be loaded: {first_line(error)}") from error
