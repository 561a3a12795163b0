"""Batches of rows with similar lengths under a budget of tokens, padding counted."""

from __future__ import annotations

from collections.abc import Sequence


def token_budget_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Indices in batches, longest rows first, each with ``rows * longest row <= budget`` (or one row alone).

    The longest batch comes first, so that memory runs out at once or never.

    Raises:
        ValueError: the budget is not positive.
    """
    if budget < 1:
        raise ValueError(f"the token budget must be positive, got {budget}")
    batches: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= budget:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches


def equal_batches(lengths: Sequence[int], size: int) -> list[list[int]]:
    """Indices in batches of ``size`` rows, longest rows first."""
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    return [order[first : first + size] for first in range(0, len(order), size)]
