"""The gradients of an optimiser step as one process holds them: their norm, which are not finite, and none at all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

NAMED = 8
"""Parameters that are listed by name."""


def local_norm(model: nn.Module) -> Tensor:
    """Return the norm of all gradients, of a sharded model that of this process's part; 0 without any.

    It is finite only if every gradient is, so that one number answers for all of them.
    """
    gradients = [_local(p.grad) for p in model.parameters() if p.grad is not None]
    return torch.nn.utils.get_total_norm(gradients) if gradients else torch.zeros(())


def in_parts(model: nn.Module) -> bool:
    """Whether a gradient lies on several processes, of which each has a part."""
    return any(isinstance(parameter.grad, DTensor) for parameter in model.parameters())


def not_finite(model: nn.Module) -> tuple[int, list[dict[str, Any]]]:
    """Return how many parameters have a gradient that is not finite, and of the first few name, shape and counts."""
    count = 0
    shown: list[dict[str, Any]] = []
    for name, parameter in model.named_parameters():
        if parameter.grad is None:
            continue
        gradient = _local(parameter.grad)
        if bool(torch.isfinite(gradient).all()):
            continue
        count += 1
        if len(shown) < NAMED:
            found = {"nan": int(gradient.isnan().sum()), "infinite": int(gradient.isinf().sum())}
            shown.append({"parameter": name, "shape": list(gradient.shape), **found})
    return count, shown


def spoilt_parameter(model: nn.Module) -> str:
    """Return the name of a parameter that is not finite itself, which no step would mend; "" where all are."""
    for name, parameter in model.named_parameters():
        value = _local(parameter.detach())
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            return name
    return ""


def drop(model: nn.Module, groups: Iterable[dict[str, Any]] = ()) -> None:
    """Take the gradients away, with which neither momentum nor weight decay of any optimiser acts.

    Args:
        model: what is trained.
        groups: of the optimiser, which may hold parameters of another module.
    """
    for parameter in model.parameters():
        parameter.grad = None
    for group in groups:
        for parameter in group["params"]:
            parameter.grad = None


def _local(gradient: Tensor) -> Tensor:
    return gradient.to_local() if isinstance(gradient, DTensor) else gradient
