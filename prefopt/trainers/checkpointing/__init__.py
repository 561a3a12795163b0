"""Checkpoints that are whole or not there: how they are written, verified, chosen, and what a resumed run promises."""
