"""Penalties per pair that are added to the loss."""

from prefopt.offline.regularise.chosen_likelihood import ChosenLikelihood

__all__ = ["ChosenLikelihood"]
