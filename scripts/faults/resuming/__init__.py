"""Runs that are stopped at a checkpoint and resumed, compared bit for bit with those that were not."""
