"""How much a prompt's accuracy moves while a policy learns."""

from __future__ import annotations

from torch import Tensor


def accuracy_spread(history: Tensor) -> Tensor:
    """Return ``(P,)``: the population standard deviation of each prompt's accuracy over E epochs.

    Prompts of the largest spread are those to train on when only few are to be used. Epochs without a score of a prompt
    are NaN and left out; a prompt without any score gives NaN.

    Args:
        history: ``(P, E)``: accuracy of P prompts in the epochs of one run over the whole pool.

    Reference: selection for 1-shot RLVR, arXiv 2504.20571.
    """
    history = history.double()
    mean = history.nanmean(-1, keepdim=True)
    return ((history - mean) ** 2).nanmean(-1).sqrt()
