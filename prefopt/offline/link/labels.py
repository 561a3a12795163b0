"""How sure it is that the chosen response is the better one."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from prefopt.batch import Pairs
from prefopt.errors import nearest

Labels = Literal["hard", "soft", "smoothed"]
"""``hard``: certain, but for ``label_smoothing``. ``soft``: each pair has ``label_chosen_preferred`` (0.5 is a tie).
``smoothed``: each pair has its own ``label_smoothing``, the probability that its label is flipped."""

_COLUMNS = {"hard": "", "soft": "label_chosen_preferred", "smoothed": "label_smoothing"}


def label_needs(labels: Labels) -> frozenset[str]:
    """Return the input that a kind of labels reads."""
    return frozenset({_COLUMNS[labels]} - {""})


def check_labels(labels: str, label_smoothing: float, beta: float) -> None:
    """Raise ``ValueError`` for settings that no link can use."""
    if labels not in get_args(Labels):
        raise ValueError(
            f"labels must be one of {', '.join(get_args(Labels))}, not '{labels}'.{nearest(labels, get_args(Labels))}"
        )
    if not 0 <= label_smoothing < 0.5:
        raise ValueError(
            f"label_smoothing is the probability that a label is flipped, in [0, 0.5), not {label_smoothing}"
        )
    if not beta > 0:
        raise ValueError(f"beta must be positive, not {beta}")


def chosen_preferred(pairs: Pairs, labels: Labels, label_smoothing: float, like: Tensor) -> Tensor:
    """Return ``q`` ``(N,)``, the probability that the chosen response is the better one.

    ``q = (1 - e) p + e (1 - p)`` with ``e = label_smoothing`` and ``p`` = 1 (hard), the pair's label (soft), or 1 minus
    the pair's own smoothing (smoothed).
    """
    column = _COLUMNS[labels]
    preferred = pairs.extras[column].to(like) if column else torch.ones_like(like)
    preferred = 1 - preferred if labels == "smoothed" else preferred
    return (1 - label_smoothing) * preferred + label_smoothing * (1 - preferred)
