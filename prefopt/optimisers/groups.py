"""Parameters of a model in groups: which are matrices of hidden layers, and which are decayed."""

from __future__ import annotations

from typing import Any

from torch import nn


def parameter_groups(model: nn.Module, weight_decay: float = 0.0) -> list[dict[str, Any]]:
    """Return groups of the parameters that learn, each with ``matrices`` and ``weight_decay``; empty ones are left out.

    ``matrices`` are two-dimensional parameters other than embeddings and the output head. Vectors (biases and norms)
    are not decayed.
    """
    tables = {id(weight) for part in model.modules() if isinstance(part, nn.Embedding) for weight in part.parameters()}
    head = getattr(model, "get_output_embeddings", lambda: None)()
    tables |= {id(weight) for weight in head.parameters()} if isinstance(head, nn.Module) else set()
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for weight in model.parameters():
        if weight.requires_grad:
            matrix = weight.ndim == 2 and id(weight) not in tables
            groups.setdefault((matrix, weight_decay if weight.ndim > 1 else 0.0), []).append(weight)
    return [{"params": held, "matrices": matrix, "weight_decay": decay} for (matrix, decay), held in groups.items()]
