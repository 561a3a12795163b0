"""Batches of rows with similar lengths under a budget of tokens, padding counted."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt

PADDING_SHARE = 0.15
LEAST_SHARE_OF_BUDGET = 1 / 8


def token_budget_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Indices in batches, longest rows first, each with ``rows * longest row <= budget`` (or one row alone).

    The longest batch comes first, so that memory runs out at once or never. Where lengths differ a lot a batch ends
    before the budget does, once padding would be more than 15 % of it and it holds an eighth of the budget: padding
    costs as much as tokens, and a batch of that size keeps a device busy.

    Raises:
        ValueError: the budget is not positive.
    """
    if budget < 1:
        raise ValueError(f"the token budget must be positive, got {budget}")
    batches: list[list[int]] = []
    tokens = longest = 0
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        padded = (len(batches[-1]) + 1) * longest if batches else 0
        wasteful = tokens >= LEAST_SHARE_OF_BUDGET * budget and padded - tokens - lengths[i] > PADDING_SHARE * padded
        if batches and padded <= budget and not wasteful:
            batches[-1].append(i)
            tokens += lengths[i]
        else:
            batches.append([i])
            tokens = longest = lengths[i]
    return batches


def cheapest_tree(width: int, prompt: int) -> int:
    """Return the tokens of a tree at which scoring many responses to one prompt costs least.

    Apart from attention a token costs about as much as attending to ``16 width`` others (measured on a CPU at width
    384; the matrix products alone are ``6 width`` to ``8 width``), and it pays for every token of its row, masked or
    not. A row of ``T`` tokens computes its prompt of ``P`` anew, so that a response's token costs about
    ``(1 + P / T) (16 width + T)``, which is least at ``T = sqrt(16 width P)``.
    """
    return max(1, isqrt(16 * width * prompt))
