"""Penalties that a setting of several recipes turns on."""

from __future__ import annotations

from prefopt.online.regularise import KL
from prefopt.online.slots import Regulariser


def kl_penalty(beta: float) -> tuple[Regulariser, ...]:
    """Return a KL penalty, or nothing for 0: then no reference model is needed."""
    return (KL(beta),) if beta else ()
