"""For which models a tree gives what separate rows give."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from reward_models.tree_attention import layer_windows

ATTENTION = ("sdpa", "eager", "flex_attention")
STATEFUL_LAYERS = ("linear_attention", "mamba", "mamba2", "recurrent", "conv", "hybrid")
MASKED_LAYERS = {"full_attention", "sliding_attention"}
TAKES_MASKS = "attention_mask, dict)"
SLIDES = "create_sliding_window_causal_mask"


def why_not(backbone: Any, longest: int | None = None) -> str | None:
    """Return why a tree would be wrong for this model, or None where it is exact.

    Args:
        backbone: a Hugging Face model without its head, or with it.
        longest: tokens of the longest prompt and response together. Layers that see only a part of a row, in a way
            that a mask of ours cannot say, are refused only where that is longer than the part.
    """
    if hasattr(backbone, "get_base_model"):
        backbone = backbone.get_base_model()
    config = backbone.config.get_text_config()
    name = type(backbone).__name__
    if getattr(config, "is_encoder_decoder", False):
        return f"{name} is an encoder-decoder"
    if "position_ids" not in inspect.signature(backbone.forward).parameters:
        return f"{name} takes no position ids, so that positions cannot restart after the prompt"
    if not _is_causal(backbone):
        return f"{name} is an encoder: every token sees every other, so that a prompt depends on its response"
    layers = set(getattr(config, "layer_types", None) or ())
    stateful = [layer for layer in layers if any(word in layer for word in STATEFUL_LAYERS)]
    if stateful or hasattr(config, "ssm_cfg") or hasattr(config, "state_size"):
        return (
            f"{name} has recurrent layers ({', '.join(stateful) or 'state space'}), which read a row from left to right"
        )
    if (reason := _unmaskable(backbone, layers, longest)) is not None:
        return reason
    implementation = getattr(config, "_attn_implementation", None)
    if implementation not in ATTENTION:
        return f"attention '{implementation}' takes no 4-D mask; load the model with attn_implementation='sdpa'"
    return None


def _unmaskable(backbone: Any, layers: set[str], longest: int | None) -> str | None:
    config, name = backbone.config.get_text_config(), type(backbone).__name__
    if "local" in (getattr(config, "attention_layers", None) or ()):
        return f"{name} has local attention, which counts places in the row instead of positions"
    chunk = getattr(config, "attention_chunk_size", None) if any("chunked" in layer for layer in layers) else None
    if chunk is not None and (longest is None or longest > chunk):
        return f"{name} attends within chunks of {chunk} tokens, shorter than a prompt with its response"
    windows = [window for window in layer_windows(config).values() if window is not None]
    if not windows or (longest is not None and longest <= min(windows)):
        return None
    if len(layers) > 1 and not (layers <= MASKED_LAYERS and _does(backbone, TAKES_MASKS)):
        return f"{name} has a sliding window of {min(windows)} tokens and takes no mask for its sliding layers alone"
    if not _does(backbone, SLIDES):
        return f"{name} names a sliding window of {min(windows)} tokens and does not say where it acts"
    return None


def _does(backbone: nn.Module, what: str) -> bool:
    """Whether the forward pass has this in its source, which alone says how a model masks its layers."""
    classes = {type(module) for module in backbone.modules() if hasattr(module, "config")}
    return any(what in inspect.getsource(inspect.unwrap(one.forward)) for one in classes)


def _is_causal(backbone: Any) -> bool:
    attention = [module.is_causal for module in backbone.modules() if hasattr(module, "is_causal")]
    return bool(attention) and all(attention)
