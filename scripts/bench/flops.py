"""Floating-point operations of a Llama, and how much of a device's peak a run reaches.

A multiplication with an addition counts as two operations, and only matrix products count. With d the width, h heads
of e dimensions, k key-value heads, f the inner width, V the vocabulary and L layers, a forward pass takes

    2 L (2 d h e + 2 d k e + 3 d f)   a token            (query, output, key, value, and the three of the MLP)
    4 L h e                           a pair of tokens   (scores, and their product with the values)
    2 d V                             a token that predicts, where there is a language-model head

A backward pass takes twice that. Model FLOP utilisation is

    operations that are needed / (seconds x peak operations a second)

where needed are those of each distinct prompt once and each response once, without padding: the same numerator for
both sides, so that a side which repeats prompts or pads has a lower utilisation, whatever its kernels do. Hardware
FLOP utilisation has the operations of a side's own layout in the numerator, padding and repeated prompts included.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from reward_models.prefix_tree import Tree

TRAINING = 3
PEAKS = {"H200": 989e12, "H100 PCIe": 756e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12}
"""Dense bfloat16 operations a second, from the makers' data sheets."""


@dataclass(frozen=True)
class Passed:
    """What passes a model: tokens, pairs of tokens that attend, and tokens whose logits are computed."""

    tokens: int = 0
    pairs: int = 0
    predicting: int = 0

    def __add__(self, other: Passed) -> Passed:
        return Passed(self.tokens + other.tokens, self.pairs + other.pairs, self.predicting + other.predicting)

    def operations(self, config: Any) -> int:
        """Return the operations of a forward pass."""
        width, inner = config.hidden_size, config.intermediate_size
        head = getattr(config, "head_dim", None) or width // config.num_attention_heads
        attention = 2 * width * head * (config.num_attention_heads + config.num_key_value_heads)
        return (
            2 * config.num_hidden_layers * (attention + 3 * width * inner) * self.tokens
            + 4 * config.num_hidden_layers * config.num_attention_heads * head * self.pairs
            + 2 * width * config.vocab_size * self.predicting
        )


def triangle(length: int) -> int:
    """Pairs of tokens in a causal row."""
    return length * (length + 1) // 2


def needed(trees: Iterable[Tree], head: bool) -> Passed:
    """What trees need without padding; with ``head`` each response token is predicted."""
    total = Passed()
    for tree in trees:
        prompt, lengths = len(tree.prompt), [len(response) for response in tree.responses]
        pairs = triangle(prompt) + sum(prompt * length + triangle(length) for length in lengths)
        total += Passed(len(tree), pairs, sum(lengths) if head else 0)
    return total


def padded_rows(lengths: Iterable[int], size: int, head: bool) -> Passed:
    """What causal rows pass, ``size`` at a time, padded to the longest of each; with ``head`` every token predicts."""
    rows, total = list(lengths), Passed()
    for at in range(0, len(rows), size):
        batch = rows[at : at + size]
        longest, tokens = max(batch), len(batch) * max(batch)
        total += Passed(tokens, len(batch) * triangle(longest), tokens if head else 0)
    return total


def separate_tokens(trees: Iterable[Tree]) -> int:
    """Tokens of a row for each response, without padding: what tokens a second count for both sides."""
    return sum(len(tree.prompt) + len(response) for tree in trees for response in tree.responses)


def peak(device: str) -> float | None:
    """Return the peak of a device by a part of its name, None where it is not known."""
    return next((value for name, value in PEAKS.items() if name in device), None)
