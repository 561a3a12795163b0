"""Recipes of kind offline."""
