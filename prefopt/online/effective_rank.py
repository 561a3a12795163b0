"""How many directions a completion's hidden states use, and how that number grows along it."""

from __future__ import annotations

import torch
from torch import Tensor


def effective_rank(states: Tensor) -> float:
    """Return ``exp(-sum p log(p + 1e-8))``, ``p = s / (sum s + 1e-8)``, ``s`` singular values of the centred rows.

    The values come from the Gram matrix of the smaller side, in float64: in float32 noise would pass for directions.

    Args:
        states: ``(T, H)``; fewer than two rows give 0.
    """
    if len(states) < 2:
        return 0.0
    centred = states.double() - states.double().mean(0)
    gram = centred @ centred.T if centred.shape[0] <= centred.shape[1] else centred.T @ centred
    values = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
    share = values / (values.sum() + 1e-8)
    return float((-(share * (share + 1e-8).log()).sum()).exp())


def rank_growth(ranks: list[float]) -> tuple[float, float]:
    """Return mean velocity and mean acceleration of a series ``m_0, m_1, ...`` of ranks; 0 where there is none.

    ``d_j = m_j - mean(m_0 .. m_{j-1})`` for j >= 1; velocity is the mean of ``d_j``, acceleration that of
    ``d_j - d_{j-1}``.
    """
    if len(ranks) < 2:
        return 0.0, 0.0
    series = torch.tensor(ranks, dtype=torch.float64)
    before = series.cumsum(0)[:-1] / torch.arange(1, len(series), dtype=torch.float64)
    velocity = series[1:] - before
    acceleration = velocity.diff()
    return float(velocity.mean()), float(acceleration.mean()) if len(acceleration) else 0.0


def rank_figures(states: Tensor, stride: int, window: int) -> tuple[float, float, float]:
    """Return effective rank of all states ``(T, H)``, and velocity and acceleration over prefixes of the last ones.

    The last ``window`` states count; prefixes of them end at every ``stride``-th.
    """
    last = states[-window:]
    ranks = [effective_rank(last[: end + 1]) for end in range(stride, len(last), stride)]
    return (effective_rank(states), *rank_growth(ranks))
