"""Reward sources: read from settings, asked with patience, checked, and counted where they give no score."""
