"""Reward models: preference data, models with named heads, verifiers, scoring and evaluation."""
