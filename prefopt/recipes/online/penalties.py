"""Penalties that a setting of several recipes turns on."""

from __future__ import annotations

from prefopt.online.regularise import KL, EntropyBonus
from prefopt.online.slots import Regulariser


def kl_penalty(beta: float) -> tuple[Regulariser, ...]:
    """Return a KL penalty, or nothing for 0: then no reference model is needed."""
    return (KL(beta),) if beta else ()


def entropy_bonus(coefficient: float) -> tuple[Regulariser, ...]:
    """Return a bonus for entropy, or nothing for 0: then no entropies are computed."""
    return (EntropyBonus(coefficient),) if coefficient else ()
