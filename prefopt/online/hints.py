"""Hints: how much of a reference answer to give, and which tokens of a completion were given."""

from __future__ import annotations

import torch
from torch import Tensor


def hint_ratio(rewards: Tensor, least: float = 0.1, most: float = 0.6, noise: float = 0.0) -> float:
    """Return ``clip((most - least) * (1 - mean reward) + least + noise, 0, 1)``, from unaided rollouts ``(n,)``.

    The harder a prompt is without help, the longer the hint. ``least``, ``most`` and the size of the noise (0.05, say)
    are our choices.

    Reference: ADHint, arXiv 2512.13095.
    """
    ratio = (most - least) * (1 - float(rewards.double().mean())) + least + noise
    return min(max(ratio, 0.0), 1.0)


def hint_tokens(reference_length: int, ratio: float) -> int:
    """Return how many leading tokens of a reference answer are given, ``round(ratio * length)``."""
    return round(ratio * reference_length)


def given(mask: Tensor, hint_length: Tensor) -> Tensor:
    """Return bool ``(B, T)``: the first ``hint_length`` tokens of each row's ``mask``."""
    return mask & (mask.long().cumsum(-1) <= hint_length.long()[:, None])


def hint_distances(entropies: Tensor, mask: Tensor, hint: Tensor) -> Tensor:
    """Return ``(B, T)``: ``|H_t - Hbar| / (Hbar + 1e-6)``, ``Hbar`` the row's mean entropy after the hint."""
    after = mask & ~hint
    entropies = torch.where(mask, entropies, torch.zeros_like(entropies)).double()
    mean = (entropies * after).sum(-1, keepdim=True) / after.sum(-1, keepdim=True).clamp(min=1)
    return (entropies - mean).abs() / (mean + 1e-6)
