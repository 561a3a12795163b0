"""Preference pairs on their way to the objective: texts, tokens, batches, statistics and reference."""
