"""Which token of a tree sees which: one rule, as a dense mask and as a block mask.

A token sees, up to itself, the prompt of its own tree and its own response. Under a sliding window of ``w`` it sees
only tokens less than ``w`` positions before it; positions, not places in the row, decide, so that a response is as
near to its prompt as in a row of its own.

SDPA and eager attention take a dense mask, ``(R, 1, T, T)``. FlexAttention takes a `BlockMask`, which holds one entry
for 128 x 128 pairs of tokens and skips blocks that nobody sees.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask

PADDING = -1
PROMPT = 0
ONE_ROW = 2**62

Rule: TypeAlias = Callable[[Any, Any, Any, Any], Tensor]
Mask: TypeAlias = Tensor | BlockMask


def visibility(trees: Tensor, segments: Tensor, positions: Tensor, window: int | None = None) -> Rule:
    """Return ``sees(row, head, query, key)``, true where query sees key.

    Padding sees itself, since a query that sees nothing would be NaN, and a NaN value reaches others even through a
    weight of zero.

    Args:
        trees, segments, positions: ``(R, T)`` int64, see `TreeBatch`.
        window: sliding window of a layer, None without.
    """

    def sees(row: Any, head: Any, query: Any, key: Any) -> Tensor:
        tree, segment = trees[row, key], segments[row, key]
        related = (segment == PROMPT) | (segment == segments[row, query])
        seen = (tree == trees[row, query]) & (tree != PADDING) & related & (key <= query)
        if window is not None:
            seen = seen & (positions[row, query] - positions[row, key] < window)
        return seen | (key == query)

    return sees


def dense_mask(rule: Rule, shape: torch.Size, device: torch.device) -> Tensor:
    """Write a rule out as ``(R, 1, T, T)`` bool. ``shape`` is ``(R, T)``."""
    rows, index = torch.arange(shape[0], device=device), torch.arange(shape[1], device=device)
    return rule(rows[:, None, None], None, index[None, :, None], index[None, None, :])[:, None]


def block_mask(rule: Rule, shape: torch.Size, device: torch.device) -> BlockMask:
    """Write a rule out as the block mask of FlexAttention. ``shape`` is ``(R, T)``."""
    rows, tokens = shape
    # Uncompiled, it would hold all T x T pairs of a row for a moment.
    return create_block_mask(rule, rows, None, tokens, tokens, str(device), _compile=device.type == "cuda")


def attention_of(config: Any) -> str | None:
    """Return the attention that a configuration names."""
    name: str | None = getattr(config.get_text_config(), "_attn_implementation", None)
    return name


def row_width(config: Any) -> int | None:
    """Return the ``width`` for `TreeBatch.collate`: all trees in one row where masked blocks cost nothing.

    A dense mask costs the square of a row, so that there a tree has a row of its own (None).
    """
    return ONE_ROW if attention_of(config) == "flex_attention" else None


def layer_windows(config: Any) -> dict[str, int | None]:
    """Return the sliding window of each kind of layers, None without one; a model of one kind has one entry."""
    config = config.get_text_config()
    window = getattr(config, "sliding_window", None)
    kinds = sorted(set(getattr(config, "layer_types", None) or ()))
    if not kinds:
        # Llama, for one, ignores a window that a converted file brings along.
        slides = hasattr(type(config), "sliding_window") and getattr(config, "use_sliding_window", True)
        return {"attention": window if slides else None}
    return {kind: window if kind == "sliding_attention" else None for kind in kinds}


def masks(config: Any, trees: Tensor, segments: Tensor, positions: Tensor, dtype: torch.dtype) -> Mask | dict[str, Any]:
    """Return what a Hugging Face model takes as ``attention_mask``: a mask, or one for each kind of layers.

    Args:
        config: the model's; names its attention and its windows.
        trees, segments, positions: ``(R, T)`` int64, see `TreeBatch`.
        dtype: of the model, for eager attention, which adds its mask to the scores.
    """
    attention = attention_of(config)
    width = trees.shape[1]
    windows = {kind: None if w is None or w >= width else w for kind, w in layer_windows(config).items()}

    def built(window: int | None) -> Mask:
        rule = visibility(trees, segments, positions, window)
        if attention == "flex_attention":
            return block_mask(rule, trees.shape, trees.device)
        mask = dense_mask(rule, trees.shape, trees.device)
        if attention != "eager":
            return mask
        return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, torch.finfo(dtype).min)

    by_window = {window: built(window) for window in set(windows.values())}
    if len(by_window) == 1:
        return next(iter(by_window.values()))
    return {kind: by_window[window] for kind, window in windows.items()}
