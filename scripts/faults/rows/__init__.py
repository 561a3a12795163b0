"""Rows that are broken on purpose: a corpus with verdicts, and damage by chance."""
