"""Log-probabilities of response tokens from a chunked head that never holds the logits of a whole batch."""

from __future__ import annotations

from collections.abc import Collection
from functools import wraps
from types import MethodType
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from transformers.utils import is_triton_available
from trl.kernels.chunked_logprob import ChunkedLogProbFunction
from trl.trainer.utils import maybe_gather_lm_head_ctx

from prefopt.errors import UserError
from prefopt.trainers.head_chunks import HeadChunks
from reward_models.prefix_tree import TreeBatch

FUSED = {"log_sum_sq_probs": "log_sum_sq_probs", "entropies": "entropy"}
"""Statistics of the whole vocabulary that TRL's kernel gives beside the log-probability -> its name for them."""
CHUNK_VOCABULARY = 8192


def logit_transform(config: Any) -> tuple[float, float | None]:
    """Return the factor that a model puts on its logits, and the cap of ``cap * tanh(logit / cap)`` or None."""
    config = config.get_text_config()
    found = (getattr(config, name, None) for name in ("logit_scale", "output_multiplier", "lm_head_multiplier"))
    scale = next((float(value) for value in found if value is not None), None)
    divisor = getattr(config, "logits_scaling", None)
    if scale is None and divisor is not None:
        scale = float(divisor) if config.model_type == "hyperclovax" else 1 / float(divisor)
    return (1.0 if scale is None else scale), getattr(config, "final_logit_softcapping", None)


def next_token_statistics(
    states: Tensor,
    targets: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    statistics: Collection[str] = (),
    *,
    scale: float = 1.0,
    softcap: float | None = None,
    temperature: float = 1.0,
) -> dict[str, Tensor]:
    """Log-probabilities of tokens from the states that predict them, without the logits of all of them at once.

    With ``z = weight @ state + bias``, scaled, capped and divided by the temperature, and ``p = softmax(z)``:
    ``logps = log p[target]``, ``entropies = -sum p log p``, ``log_sum_sq_probs = log sum p^2``,
    ``max_logps = log max p``. ``logps`` and ``entropies`` carry gradients to states, weight and bias.

    Args:
        states: ``(M, d)``; `TreeBatch.predicting_states` gives them and their targets.
        targets: ``(M,)`` int64.
        weight: ``(V, d)``, of the head. bias: ``(V,)`` or None.
        statistics: what is wanted beside ``logps``: ``entropies``, ``log_sum_sq_probs``, ``max_logps``.
        scale, softcap: see `logit_transform`.
        temperature: that of sampling.

    Returns:
        ``logps`` and each statistic, ``(M,)``, in float32 (float64 for states in float64).
    """
    triton = is_triton_available() and states.device.type in ("cuda", "xpu") and states.dtype != torch.float64
    kernel = _logps_of_kernel if triton else _logps_of_chunks
    found = kernel(states, targets, weight, bias, frozenset(statistics), scale, softcap, temperature)
    return {name: found[name] for name in ("logps", *statistics)}


def _logps_of_kernel(
    states: Tensor, targets: Tensor, weight: Tensor, bias: Tensor | None, statistics: frozenset[str], scale: float,
    softcap: float | None, temperature: float,
) -> dict[str, Tensor]:  # fmt: skip
    wanted = tuple(FUSED[name] for name in statistics if name in FUSED)
    logps, entropies, squares, _, _ = ChunkedLogProbFunction.apply(
        states, weight, bias, targets, temperature, CHUNK_VOCABULARY, softcap, scale, wanted
    )
    found = {"logps": logps, "entropies": entropies, "log_sum_sq_probs": squares}
    if "max_logps" in statistics:
        with torch.no_grad():
            arguments = (frozenset({"max_logps"}), scale, softcap, temperature)
            found["max_logps"] = _logps_of_chunks(states, targets, weight, bias, *arguments)["max_logps"]
    return found


def _logps_of_chunks(
    states: Tensor, targets: Tensor, weight: Tensor, bias: Tensor | None, statistics: frozenset[str], scale: float,
    softcap: float | None, temperature: float,
) -> dict[str, Tensor]:  # fmt: skip
    found = HeadChunks.apply(states, weight, bias, targets, statistics, scale, softcap, temperature)
    return dict(zip(("logps", "entropies", "log_sum_sq_probs", "max_logps"), found, strict=True))


def attach_tree_head(model: Any) -> None:
    """Teach a causal language model ``model(trees=TreeBatch, statistics=(...), temperature=1.0)``.

    It returns what `next_token_statistics` gives for the response tokens of the trees, ``(M,)`` each, which
    `TreeBatch.by_response` lays out by response. Every other call goes where it went before. Attach it to the bare
    model, before PEFT, DDP or FSDP wrap it, so that their hooks run; once is enough.

    Raises:
        UserError: an adapter on the head, whose part of the logits would be missing.
    """
    _plain_head(model)
    before = model.forward

    @wraps(type(model).forward)
    def forward(
        self: Any,
        *args: Any,
        trees: TreeBatch | None = None,
        statistics: Collection[str] = (),
        temperature: float = 1.0,
        **other: Any,
    ) -> Any:
        if trees is None:
            return before(*args, **other)
        inputs = {**trees.model_inputs(self.config, self.dtype), "use_cache": False}
        hidden = self.base_model(**inputs).last_hidden_state
        states, targets = trees.predicting_states(hidden)
        head = _plain_head(self)
        weight, bias = (part.full_tensor() if isinstance(part, DTensor) else part for part in (head.weight, head.bias))
        scale, softcap = logit_transform(self.config)
        states, targets = states.to(weight.device), targets.to(weight.device)
        with maybe_gather_lm_head_ctx(weight, bias):
            return next_token_statistics(
                states, targets, weight, bias, statistics, scale=scale, softcap=softcap, temperature=temperature
            )

    model.forward = MethodType(forward, model)


def _plain_head(model: Any) -> Any:
    head = model.get_output_embeddings()
    if hasattr(head, "base_layer"):
        raise UserError(
            "the adapter changes the output head, of which weight and bias alone are read; leave lm_head out of its "
            "target_modules (modules_to_save trains the whole head)"
        )
    return head
