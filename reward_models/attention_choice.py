"""Which attention a decoder computes with, and why."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from reward_models.errors import ModelError

if TYPE_CHECKING:
    import torch

CHOICES = ("auto", "sdpa", "flex_attention", "eager")
ATTENTION_HELP = (
    "attention of the model: auto (FlexAttention for long rows on a GPU, else SDPA), sdpa, flex_attention or eager"
)
LONG_ROW = 1024
LEAST_HEAD = 16


def check_attention(name: str) -> None:
    """Refuse a name that is no choice. Raises ``ModelError``."""
    if name not in CHOICES:
        raise ModelError(f"attention must be one of {', '.join(CHOICES)}, got '{name}'")


def use_attention(
    backbone: Any, wanted: str, device: torch.device, longest: int | None, training: bool = False
) -> str | None:
    """Set a model's attention and return its name.

    ``auto`` changes nothing but SDPA to FlexAttention, where all of this holds:

    - the model will run on a CUDA device with Triton: elsewhere FlexAttention has no compiled kernel, or no backward
      pass;
    - the model takes it, its heads have at least 16 dimensions, its weights at most 32 bits, its attention no dropout,
      and trees are exact for it (`why_not`);
    - prompt and response may reach 1,024 tokens together. With a mask SDPA computes and reads every pair of a row's
      tokens, seen or not, so that trees cannot be packed into long rows; FlexAttention skips blocks that nobody sees.
      In short rows attention is a few per cent of the work (``T / (6 d)`` of the matrix products), and compiling
      takes longer than that saves.

    The threshold is reasoned, not measured yet: ``python -m scripts.bench gpu_attention`` measures it.

    Args:
        backbone: a Hugging Face model, with or without an adapter.
        wanted: one of `CHOICES`.
        device: where the model will run.
        longest: tokens of the longest prompt and response together; None is unknown and counts as long.
        training: whether gradients are wanted.

    Raises:
        ModelError: no such choice, or the model or the device cannot have what is wanted.
    """
    check_attention(wanted)
    model = backbone.get_base_model() if hasattr(backbone, "get_base_model") else backbone
    current: str | None = model.config.get_text_config()._attn_implementation
    if wanted == "auto":
        if current != "sdpa" or not _worth_it(model, device, longest):
            return current
        wanted = "flex_attention"
    if wanted == "flex_attention" and device.type == "cpu" and training:
        raise ModelError("attention 'flex_attention' has no backward pass on a CPU; choose sdpa or auto")
    if wanted != current:
        try:
            model.set_attn_implementation(wanted)
        except (ValueError, ImportError) as error:
            raise ModelError(f"attention '{wanted}': {str(error).split('. ')[0]}; choose another or auto") from error
    return wanted


def _worth_it(model: Any, device: torch.device, longest: int | None) -> bool:
    from reward_models.tree_models import why_not

    config = model.config.get_text_config()
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    dropout = max(getattr(config, name, None) or 0.0 for name in ("attention_dropout", "attn_pdrop"))
    return (
        device.type == "cuda"
        and find_spec("triton") is not None
        and getattr(model, "_supports_flex_attn", False)
        and head >= LEAST_HEAD
        and model.dtype.itemsize <= 4
        and dropout == 0
        and (longest is None or longest >= LONG_ROW)
        and why_not(model, longest) is None
    )
