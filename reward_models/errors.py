"""Errors of the reward-model subsystem. Their message names the file, row, field or folder, and the fix."""

from __future__ import annotations


class DataError(ValueError):
    """A data source or a row of it cannot be used as it is."""


class ModelError(ValueError):
    """A model folder cannot be used as it is."""
