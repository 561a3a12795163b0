"""Recipes of kind weighting."""
