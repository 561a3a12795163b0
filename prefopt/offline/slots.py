"""What a part of each slot of the offline objective takes and gives. A part subclasses one of these, and nothing else.

Letters: ``N`` pairs, ``T`` response tokens (chosen and rejected may differ in ``T``).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from prefopt.batch import PairOutputs, Pairs
from prefopt.composition import Part


class Reference(Part):
    """Which reference the trainer compares the policy with. A plain value: the trainer reads it, nothing calls it.

    A reference is loaded only where a part declares ``ref_logps``.
    """

    exists: ClassVar[bool] = True


class TokenMask(Part):
    """Pairs to weights of their tokens, ``(N, Tc)`` and ``(N, Tr)``; the response masks are applied on top."""

    def __call__(self, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """Return the weights of the chosen and of the rejected tokens."""
        raise NotImplementedError


class Score(Part):
    """One side's log-probabilities ``(N, T)`` to the implicit reward of each response ``(N,)``, without beta.

    ``ref_logps`` is None unless the part declares it in ``needs``. Values outside ``mask`` may be anything.
    """

    def __call__(self, logps: Tensor, ref_logps: Tensor | None, mask: Tensor, weights: Tensor) -> Tensor:
        """Return the score of each response."""
        raise NotImplementedError


class Link(Part):
    """Two scores ``(N,)`` to a loss ``(N,)``.

    ``beta`` scales a score to the implicit reward that is logged. ``wants_reference`` says that the loss is derived for
    scores that are log-ratios to a reference.
    """

    beta: float
    wants_reference: ClassVar[bool] = False

    def __call__(self, chosen: Tensor, rejected: Tensor, pairs: Pairs) -> Tensor:
        """Return the loss of each pair."""
        raise NotImplementedError


class PairWeight(Part):
    """By how much each pair counts, ``(N,)``; called without gradient."""

    def __call__(self, policy: PairOutputs, pairs: Pairs) -> Tensor:
        """Return the weights."""
        raise NotImplementedError


class Regulariser(Part):
    """A penalty per pair ``(N,)``, to be minimised, coefficient included. ``reference`` is None unless declared."""

    def __call__(self, policy: PairOutputs, reference: PairOutputs | None, pairs: Pairs) -> Tensor:
        """Return the penalty."""
        raise NotImplementedError


class PairSource(Part):
    """Where the pairs come from. A plain value: the trainer or the loop reads it, nothing calls it."""


def masked_sum(values: Tensor, mask: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return ``sum_t w_t v_t`` ``(N,)`` over ``mask``, in float32 or wider.

    What stands outside the mask reaches neither value nor gradient.
    """
    inside = torch.where(mask, values, torch.zeros_like(values))
    inside = inside if weights is None else inside * weights
    return inside.sum(-1, dtype=torch.promote_types(values.dtype, torch.float32))


def masked_mean(values: Tensor, mask: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return ``1/T sum_t w_t v_t`` ``(N,)`` with ``T`` the tokens of ``mask``; 0 for a response without a token."""
    return masked_sum(values, mask, weights) / mask.sum(-1).clamp(min=1)
