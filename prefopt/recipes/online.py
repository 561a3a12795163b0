"""Recipes of kind online."""
