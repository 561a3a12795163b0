"""Weights that a run computes with and no checkpoint holds: a reference that stands still, an adapter's base."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from prefopt.errors import UserError
from prefopt.trainers.adapted import is_adapted
from prefopt.trainers.token_budget import SHARDED

WHAT = {
    "reference": "the reference, which is the model that the run began with where none is named",
    "base": "the model under the adapter",
}
BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def fixed_weights(trainer: Any) -> dict[str, str]:
    """Return a digest of what there is of `WHAT`; none where weights are in shards."""
    if trainer.accelerator.distributed_type in SHARDED:
        return {}
    policy = trainer.accelerator.unwrap_model(trainer.model)
    reference = getattr(trainer, "reference", None)
    held = {name: getattr(reference, name, None) for name in ("model", "anchor", "moving")}
    still = [
        (f"{name}.{key}", value)
        for name in (("anchor",) if held["moving"] else ("model", "anchor"))
        if held[name] is not None
        for key, value in trainer.accelerator.unwrap_model(held[name]).named_parameters()
    ]
    adapted = is_adapted(policy) or getattr(policy, "is_adapter", False)
    base = [(name, value) for name, value in policy.named_parameters() if adapted and not value.requires_grad]
    return {what: _digest(values) for what, values in (("reference", still), ("base", base)) if values}


def check_fixed_weights(then: Mapping[str, str], trainer: Any) -> None:
    """Raise ``UserError`` where a resumed run would compute with other ones."""
    now = fixed_weights(trainer)
    for what in then.keys() & now.keys():
        if then[what] != now[what]:
            raise UserError(
                f"this run cannot go on: {WHAT[what]}, has other weights than when it began. A checkpoint does not "
                "hold them: give the same model as then, or leave resume out to start anew"
            )


def _digest(values: Iterable[tuple[str, Tensor]]) -> str:
    found = hashlib.sha256()
    for name, value in values:
        # A sum of the bits: as many bytes are read as a forward pass reads, and none is moved.
        bits = value.detach().contiguous().view(BITS[value.element_size()]).sum(dtype=torch.int64)
        found.update(f"{name} {value.dtype} {tuple(value.shape)} {int(bits)};".encode())
    return found.hexdigest()
