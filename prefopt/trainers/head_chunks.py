"""A language-model head over tokens in chunks, for devices without Triton and for float64."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from trl.trainer.utils import maybe_gather_lm_head_ctx

CHUNK_BYTES = 128 * 2**20
"""Log-probabilities of the vocabulary that are held at a time."""


class HeadChunks(torch.autograd.Function):
    """``(logps, entropies, log_sum_sq_probs, max_logps)``, each ``(M,)``, ``top_logits`` and ``top_ids`` ``(M, k)``.

    See `next_token_statistics`.

    With ``z = u(weight @ state + bias)``, ``u`` the model's rescaling, ``p = softmax(z)`` and ``H`` the entropy:

        d logps / dz_j = 1[j = target] - p_j            d H / dz_j = -p_j (log p_j + H)
        d top_logits_i / dz_j = 1[j = top_ids_i]

    The last chunk's ``log p`` is kept for the backward pass, the others are computed again: tokens that fit one chunk
    cost three matrix products, as with whole logits, and more of them hold no more memory. Entropy and what follows
    are computed where asked for (None otherwise).
    """

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, statistics: frozenset[str],
        scale: float, softcap: float | None, temperature: float, top: int = 0,
    ) -> tuple[Tensor | None, ...]:  # fmt: skip
        """Chunk after chunk."""
        device = states.device.type
        autocast = torch.is_autocast_enabled(device)
        ctx.set_materialize_grads(False)
        ctx.compute = torch.get_autocast_dtype(device) if autocast else states.dtype
        ctx.scale, ctx.softcap, ctx.temperature = scale, softcap, temperature
        wide = torch.promote_types(states.dtype, torch.float32)
        ctx.rows = max(1, CHUNK_BYTES // (len(weight) * wide.itemsize))
        wanted = [name for name in ("entropies", "log_sum_sq_probs", "max_logps") if name in statistics]
        found = {name: states.new_empty(len(states), dtype=wide) for name in ("logps", *wanted)}
        found["log_z"] = states.new_empty(len(states), dtype=wide)
        if top:
            found["top_logits"] = states.new_empty(len(states), top, dtype=wide)
            found["top_ids"] = targets.new_empty(len(states), top)
        log_p = states.new_empty(0, dtype=wide)
        for start in range(0, len(states), ctx.rows):
            chunk = slice(start, start + ctx.rows)
            log_p, found["log_z"][chunk] = _log_softmax(ctx, states[chunk], weight, bias)
            found["logps"][chunk] = log_p.gather(-1, targets[chunk, None])[:, 0]
            if top:
                largest, found["top_ids"][chunk] = log_p.topk(top, dim=-1)
                found["top_logits"][chunk] = largest + found["log_z"][chunk, None]
            if "max_logps" in found:
                found["max_logps"][chunk] = log_p.amax(-1)
            if "entropies" in found or "log_sum_sq_probs" in found:
                p = log_p.exp()
                if "entropies" in found:
                    found["entropies"][chunk] = -torch.linalg.vecdot(p, log_p)
                if "log_sum_sq_probs" in found:
                    found["log_sum_sq_probs"][chunk] = torch.linalg.vecdot(p, p).log()
        ctx.last = log_p if any(ctx.needs_input_grad) else None
        ctx.save_for_backward(
            states, weight, bias, targets, found["log_z"], found.get("entropies"), found.get("top_ids")
        )
        fixed = [found.get(name) for name in ("log_sum_sq_probs", "max_logps", "top_ids")]
        ctx.mark_non_differentiable(*(value for value in fixed if value is not None))
        return found["logps"], found.get("entropies"), *fixed[:2], found.get("top_logits"), found.get("top_ids")

    @staticmethod
    def backward(  # type: ignore[override]
        ctx: Any, logps: Tensor | None, entropies: Tensor | None, _: Any, __: Any, top_logits: Tensor | None, *___: Any
    ) -> tuple[Tensor | None, ...]:
        """The last chunk first."""
        if logps is None and entropies is None and top_logits is None:
            return (None,) * 9
        states, weight, bias, targets, log_z, entropy, top_ids = ctx.saved_tensors
        wide = log_z.dtype
        wants_states, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        with maybe_gather_lm_head_ctx(weight, bias):
            to_states = torch.zeros(states.shape, dtype=wide, device=states.device) if wants_states else None
            to_weight = torch.zeros(weight.shape, dtype=wide, device=weight.device) if wants_weight else None
            to_bias = torch.zeros(bias.shape, dtype=wide, device=bias.device) if wants_bias else None
            starts = range(0, len(states), ctx.rows)
            for start in reversed(starts):
                chunk = slice(start, start + ctx.rows)
                log_p, ctx.last = ctx.last, None
                if log_p is None:
                    log_p, _ = _log_softmax(ctx, states[chunk], weight, bias)
                slope = _slope(ctx, log_p, log_z[chunk]) if ctx.softcap is not None else None
                if entropies is None:
                    grad = log_p.exp_()
                else:
                    p = log_p.exp()
                    grad = log_p.add_(entropy[chunk, None]).mul_(p).mul_(entropies[chunk, None].to(wide))
                    grad = grad if logps is None else grad.addcmul_(p, logps[chunk, None].to(wide))
                if entropies is None:
                    grad = grad.mul_(0.0 if logps is None else logps[chunk, None].to(wide))
                grad = grad.neg_()
                if top_logits is not None:
                    grad.scatter_add_(-1, top_ids[chunk], top_logits[chunk].to(wide))
                if logps is not None:
                    grad.scatter_add_(-1, targets[chunk, None], logps[chunk, None].to(wide))
                if slope is not None:
                    grad.mul_(slope)
                if ctx.scale != ctx.temperature:
                    grad.mul_(ctx.scale / ctx.temperature)
                if to_states is not None:
                    to_states[chunk] = grad.to(ctx.compute) @ weight.to(ctx.compute)
                if to_weight is not None:
                    to_weight.addmm_(grad.T, states[chunk].to(ctx.compute).to(wide))
                if to_bias is not None:
                    to_bias += grad.sum(0)
        return (
            None if to_states is None else to_states.to(states.dtype),
            None if to_weight is None else to_weight.to(weight.dtype),
            None if to_bias is None else to_bias.to(bias.dtype),
            None, None, None, None, None, None,
        )  # fmt: skip


def _log_softmax(ctx: Any, states: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """``(m, V)`` log-probabilities and the ``(m,)`` logarithm of their normaliser."""
    z = states.to(ctx.compute) @ weight.to(ctx.compute).T
    if bias is not None:
        z += bias.to(ctx.compute)
    z = z.to(torch.promote_types(states.dtype, torch.float32))
    if ctx.softcap is not None:
        z = z.mul_(ctx.scale / ctx.softcap).tanh_().mul_(ctx.softcap / ctx.temperature)
    elif ctx.scale != ctx.temperature:
        z = z.mul_(ctx.scale / ctx.temperature)
    log_p = z.log_softmax(-1)
    return log_p, z[:, 0] - log_p[:, 0]


def _slope(ctx: Any, log_p: Tensor, log_z: Tensor) -> Tensor:
    """Derivative of the cap, ``1 - tanh^2``, from the capped logits."""
    capped = (log_p + log_z[:, None]).mul_(ctx.temperature / ctx.softcap)
    return capped.square_().neg_().add_(1.0)
