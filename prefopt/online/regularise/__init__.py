"""Penalties per token that are added to the loss."""

from prefopt.online.regularise.kl import KL

__all__ = ["KL"]
