"""The reference model of an offline run: in memory as the objective says, or nowhere."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from trl.models import prepare_deepspeed, prepare_fsdp

from prefopt.errors import UserError
from prefopt.offline.reference import Blended, Folder, Guide, MovingAverage
from prefopt.offline.slots import Reference
from prefopt.trainers.adapted import bare, without_adapter
from prefopt.trainers.logprobs import attach_tree_head
from prefopt.trainers.moving_reference import MovingWeights, merged_copy
from prefopt.trainers.pairs.statistics import pair_statistics
from prefopt.trainers.policies import load_policy
from reward_models.freezing import disable_dropout

NOT_COMPUTED_WITH = {"_name_or_path", "transformers_version", "architectures", "use_cache", "dtype", "torch_dtype"}
"""Keys of a configuration that change no log-probability; the weights' own dtype is hashed with them."""


class ReferenceLogps:
    """Gives reference log-probabilities of a batch, from a frozen model or from the policy without its adapter.

    Args:
        reference: what the objective asks for.
        policy: the policy before training, without the chunked head.
        fresh_adapter: its adapter was made for this run and changes nothing yet, so that the weights in memory at the
            start are those without it. A policy that brings a trained adapter is copied whole.

    Raises:
        UserError: a folder without weights, or with another vocabulary; a guide that was not trained; weights that
            cannot be averaged, or are not whole on each process, where the reference moves.
    """

    def __init__(self, reference: Reference, policy: Any, fresh_adapter: bool) -> None:
        self.model: Any = None
        self.moving: MovingWeights | None = None
        self.anchor: Any = None
        self.share = 0.0
        if isinstance(reference, Guide):
            raise UserError(
                f"the guide is what a first run with {reference.recipe} leaves: call align_offline, or name the folder "
                "of a guide as the reference"
            )
        if isinstance(reference, MovingAverage):
            self.model = merged_copy(policy)
            self.moving = MovingWeights(reference, self.model)
        elif isinstance(reference, Folder):
            self.model = _from_folder(reference.path, policy)
        elif isinstance(reference, Blended) and reference.anchor and reference.share == 1:
            self.model = _from_folder(reference.anchor, policy)
        elif not fresh_adapter:
            self.model = copy.deepcopy(policy)
            bare(self.model).__dict__.pop("forward", None)  # a patched one would still run the policy
        if isinstance(reference, Blended) and reference.anchor and reference.share < 1:
            self.anchor, self.share = _from_folder(reference.anchor, policy), reference.share
        for model in (self.model, self.anchor):
            if model is not None:
                disable_dropout(model)
                attach_tree_head(bare(model))
                model.requires_grad_(False).eval()

    def fingerprint(self, policy: Any) -> str:
        """Return a SHA-256 of the weights that act as the reference; before `place`, which may shard them."""
        own = fingerprint(policy, without=True) if self.model is None else fingerprint(self.model)
        return own if self.anchor is None else f"{own} {self.share} {fingerprint(self.anchor)}"

    def place(self, accelerator: Any) -> None:
        """Put the model on this run's devices."""
        sharded = any(getattr(accelerator.state, f"{name}_plugin", None) is not None for name in ("deepspeed", "fsdp"))
        if self.moving is not None and sharded:
            raise UserError("a moving reference is averaged from whole weights; run it without FSDP and DeepSpeed")
        if self.model is not None:
            self.model = placed(self.model, accelerator)
        if self.anchor is not None:
            self.anchor = placed(self.anchor, accelerator)

    @torch.no_grad()
    def __call__(self, batch: Mapping[str, Any], policy: Any, accelerator: Any) -> Tensor:
        """Return ``(2N, T)``; see `pair_statistics`."""
        own = self._own(batch, policy, accelerator)
        if self.anchor is None:
            return own
        return torch.lerp(own, pair_statistics(self.anchor, batch)["logps"].to(own), self.share)

    def _own(self, batch: Mapping[str, Any], policy: Any, accelerator: Any) -> Tensor:
        if self.model is not None:
            return pair_statistics(self.model, batch)["logps"]
        with without_adapter(accelerator.unwrap_model(policy)):
            return pair_statistics(policy, batch)["logps"]


def _from_folder(path: str, policy: Any) -> Any:
    """Load a reference; raises ``UserError`` for another vocabulary."""
    model = load_policy(path, str(bare(policy).dtype).removeprefix("torch."))
    theirs, ours = (one.get_input_embeddings().num_embeddings for one in (model, bare(policy)))
    if theirs != ours:
        raise UserError(f"the reference {path} has {theirs} token embeddings, the policy {ours}")
    return model


def placed(model: nn.Module, accelerator: Any) -> nn.Module:
    """Put a reference on this run's devices, sharded as the run asks."""
    if getattr(accelerator.state, "deepspeed_plugin", None) is not None:
        return prepare_deepspeed(model, accelerator)
    if getattr(accelerator.state, "fsdp_plugin", None) is not None:
        return prepare_fsdp(model, accelerator)
    return accelerator.prepare_model(model, evaluation_mode=True)


def fingerprint(model: Any, without: bool = False) -> str:
    """Return a SHA-256 of what a model computes with: configuration and weights; ``without`` its LoRA adapter."""
    config = {key: value for key, value in bare(model).config.to_dict().items() if key not in NOT_COMPUTED_WITH}
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode())
    for name, value in sorted(model.state_dict().items()):
        if without and "lora_" in name:
            continue
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
