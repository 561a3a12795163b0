"""Canaries: files that are written if anything runs that was only to be read."""
