"""Segments of completions: where to cut, and what Monte Carlo values of the cuts say about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

Tree = float | Sequence["Tree"]
SiblingScale = Literal["centred", "normalised"]


def cut_points(logps: Tensor, mask: Tensor, interval: int = 5, certain: float = 0.9) -> Tensor:
    """Return bool ``(B, T)``: tokens before which to cut, every ``interval``-th one with probability below ``certain``.

    The value to estimate there is that of the prefix that ends before the token. The first uncertain token is a cut.
    """
    uncertain = mask & (logps.exp() < certain)
    number = uncertain.long().cumsum(-1) - 1
    return uncertain & (number % interval == 0)


def segment_advantages(values: Tensor, mask: Tensor, outcome: Tensor) -> Tensor:
    """Return ``(B, T)`` float64: ``V(next cut) - V(this cut)`` on the tokens from a cut up to the next one.

    ``values`` ``(B, T)`` holds ``V`` of the prefix before each cut token and NaN elsewhere. After the last cut comes
    the ``outcome`` ``(B,)``. Tokens before the first cut, and rows without one, get 0.
    """
    cut = mask & ~torch.isnan(values)
    known = torch.where(cut, values.double(), 0.0)
    width = mask.shape[1]
    place = torch.arange(width, device=mask.device).expand(mask.shape)
    last = torch.where(cut, place, -1).cummax(-1).values
    following = torch.where(cut, place, width).flip(-1).cummin(-1).values.flip(-1)
    following = torch.nn.functional.pad(following[:, 1:], (0, 1), value=width)
    right = known.gather(1, following.clamp(max=width - 1))
    right = torch.where(following < width, right, outcome.double()[:, None])
    return torch.where(mask & (last >= 0), right - known.gather(1, last.clamp(min=0)), 0.0)


def tree_value(tree: Tree) -> float:
    """Return the value of a node: a leaf's reward, or the mean over its children. A tree is a nest of lists."""
    if isinstance(tree, (int, float)):
        return float(tree)
    return sum(tree_value(child) for child in tree) / len(tree)


def tree_edges(tree: Tree, scale: SiblingScale = "centred", parent: str = "") -> list[tuple[str, float, float]]:
    """Return ``(parent, value, advantage)`` of each edge of a tree, depth first; a parent is named by its path.

    ``A = V(child) - V(parent)``, or that over the siblings' deviation (population, plus 1e-8) for ``normalised``. As
    ``V(parent)`` is the mean of its children, an edge is a completion whose reward is ``V(child)`` in a group that is
    named by its parent.
    """
    if isinstance(tree, (int, float)):
        return []
    values = [tree_value(child) for child in tree]
    mean = sum(values) / len(values)
    deviation = (sum((v - mean) ** 2 for v in values) / len(values)) ** 0.5 + 1e-8
    edges = []
    for number, (child, value) in enumerate(zip(tree, values, strict=True)):
        advantage = (value - mean) / (deviation if scale == "normalised" else 1)
        edges += [(parent, value, advantage), *tree_edges(child, scale, f"{parent}/{number}")]
    return edges
