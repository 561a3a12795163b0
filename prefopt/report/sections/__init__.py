"""Sections of a report, one a file: figures, and the sentences that say what they show, computed from the data."""
