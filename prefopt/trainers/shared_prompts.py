"""Completions of one prompt in one row: their order in micro-batches, and their log-probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from reward_models.prefix_tree import TreeBatch, plant, why_not


def order_of_groups(group: Tensor) -> Tensor:
    """Return an order of rows that shuffles groups and keeps the rows of each together.

    Drawn from torch's generator, like the shuffle that it replaces. Groups that another process shares come last, so
    that whole ones fill micro-batches exactly where their sizes divide.

    Shape: ``(B,)`` int64, number of each row's group -> ``(B,)`` int64.
    """
    members = [torch.nonzero(group == number).flatten() for number in group.unique()]
    shuffled = [members[i] for i in torch.randperm(len(members)).tolist()]
    largest = max(map(len, members))
    return torch.cat(sorted(shuffled, key=lambda rows: len(rows) < largest))


def tree_outputs(
    model: Any,
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    entropies: bool,
    temperature: float,
) -> tuple[Tensor, Tensor | None]:
    """Return log-probabilities and, where wanted, entropies of the completions' tokens, 0 beyond a completion's end.

    Args:
        model: has the head of `attach_tree_head`, under whatever wraps it.
        prompts, completions: token ids, ``B`` each.
        entropies: whether they are wanted.
        temperature: that of sampling.

    Returns:
        ``(B, L)`` each, in the order of the completions, L the tokens of the longest.
    """
    inner = getattr(model, "module", model)
    rows, order = plant(prompts, completions, width=inner.config.get_text_config().hidden_size)
    device = next(inner.parameters()).device
    trees, places = TreeBatch.collate(rows).to(device), torch.tensor(order, device=device)
    found = model(trees=trees, statistics=("entropies",) if entropies else (), temperature=temperature)

    def lay_out(values: Tensor) -> Tensor:
        return trees.by_response(values.to(device))[0][places]

    return lay_out(found["logps"]), lay_out(found["entropies"]) if entropies else None


def unpad(ids: Tensor, mask: Tensor) -> list[list[int]]:
    """Return the token ids of each row where ``mask`` is set. Shape: two ``(B, T)`` -> B lists."""
    kept = zip(ids.tolist(), mask.bool().tolist(), strict=True)
    return [[token for token, keep in zip(*row, strict=True) if keep] for row in kept]


def why_separate(args: Any, model: Any, longest: int) -> str | None:
    """Return why rows must be computed one by one, or None where trees give the same numbers.

    Args:
        args: an `OnlineConfig` with ``prefix_sharing: auto``.
        model: a causal language model or its adapter, not wrapped otherwise.
        longest: tokens of the longest prompt and completion together.
    """
    if args.torch_compile:
        return "torch_compile would compile anew for every shape of trees"
    if args.cast_lm_head_to_fp32:
        return "cast_lm_head_to_fp32 is not available for trees"
    adapters = getattr(model, "peft_config", {}).values()
    if any(adapter.is_prompt_learning for adapter in adapters):
        return "the adapter learns a prompt, which it puts before every row"
    bare = model.get_base_model() if hasattr(model, "peft_config") else model
    return why_not(bare.base_model, longest)
