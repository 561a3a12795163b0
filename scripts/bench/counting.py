"""Tokens that a trainer or a pipeline sends through its model, padding counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import mean

EPOCHS = 10


def padded(lengths: Sequence[int], size: int) -> int:
    """Tokens of rows in this order, taken ``size`` at a time and padded to the longest of each batch."""
    batches = [lengths[i : i + size] for i in range(0, len(lengths), size)]
    return sum(len(batch) * max(batch) for batch in batches)


def over_epochs(order: Iterable[int], tokens: Callable[[list[int]], float], epochs: int = EPOCHS) -> float:
    """Mean tokens of an epoch; ``tokens`` counts those of one order of rows."""
    found = []
    for epoch in range(epochs):
        if hasattr(order, "set_epoch"):
            order.set_epoch(epoch)
        found.append(tokens(list(order)))
    return mean(found)


def once_each(prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]) -> int:
    """Tokens of each distinct prompt once and, on each, of each distinct response once."""
    pairs = {(tuple(prompt), tuple(response)) for prompt, response in zip(prompts, responses, strict=True)}
    return sum(map(len, {prompt for prompt, _ in pairs})) + sum(len(response) for _, response in pairs)
