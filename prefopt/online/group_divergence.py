"""How far the next-token distributions of a prompt's completions lie apart, position by position."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from prefopt.online.k3 import k3

BOUND = 11.0


def group_divergence(vocab_logps: Tensor, mask: Tensor) -> Tensor:
    """Return ``(T,)``: ``D_t = mean_i sum_v (exp(d) - d - 1)``, ``d = clip(m_t(v) - log p_{i,t}(v), -11, 11)``.

    ``m_t`` is the mean over the group's completions of their log-probabilities (a geometric mean, not renormalised);
    a completion that has ended counts as uniform. It is a sum over the vocabulary, no divergence weighted by
    probability, and grows with V. Positions are independent, so that a caller may give a few at a time: memory is
    G * T * V.

    Args:
        vocab_logps: ``(G, T, V)`` log-probabilities of the whole vocabulary, completions of one prompt.
        mask: ``(G, T)`` bool, tokens of the completion.

    Reference: TW-GRPO, arXiv 2505.24718.
    """
    uniform = torch.full((), -math.log(vocab_logps.shape[-1]), dtype=vocab_logps.dtype, device=vocab_logps.device)
    rows = torch.where(mask[..., None], vocab_logps, uniform).double()
    gap = (rows.mean(0) - rows).clamp(-BOUND, BOUND)
    return k3(gap).sum(-1).mean(0)
