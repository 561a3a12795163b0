"""Thin adapters on transformers.Trainer and TRL. The only place that imports trl."""
