"""Turns of completions: how many, what is earned from each on, and which completions share a history."""

from __future__ import annotations

import torch
from torch import Tensor


def turn_counts(turn_ids: Tensor, mask: Tensor) -> Tensor:
    """Return ``(B,)`` int64: the number of turns of each row, 0 for one without a token; turns count from 0."""
    return torch.where(mask, turn_ids.long() + 1, 0).amax(-1)


def discounted_returns(outcome: Tensor, turns: Tensor, width: int, discount: float, rewards: Tensor | None) -> Tensor:
    """Return ``(B, S)`` float64: ``R_t = r_t + discount * R_{t+1}``; the outcome comes with the last turn.

    Args:
        outcome: ``(B,)``. turns: ``(B,)`` number of turns. width: S.
        rewards: ``(B, S)`` of each turn, NaN where absent, or None.
    """
    returns = torch.zeros(len(turns), width, dtype=torch.float64, device=turns.device)
    later = torch.zeros(len(turns), dtype=torch.float64, device=turns.device)
    for turn in range(width - 1, -1, -1):
        earned = torch.where(turns == turn + 1, outcome.double(), 0.0)
        if rewards is not None:
            earned = earned + rewards[:, turn].double().nan_to_num()
        later = torch.where(turn < turns, earned + discount * later, 0.0)
        returns[:, turn] = later
    return returns


def shared_histories(group: Tensor, states: Tensor, depth: int) -> Tensor:
    """Return ``(B, S)`` int64: equal labels where group and the last ``depth`` states, this turn's too, are equal.

    Turns with fewer than ``depth`` states behind them get labels of their own kind that callers leave out.
    """
    rows, width = states.shape
    padded = torch.nn.functional.pad(states.long(), (depth - 1, 0))
    windows = padded.unfold(1, depth, 1).reshape(rows * width, depth)
    keyed = torch.cat([group.long()[:, None].expand(rows, width).reshape(-1, 1), windows], -1)
    return torch.unique(keyed, dim=0, return_inverse=True)[1].view(rows, width)
