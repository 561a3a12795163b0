"""The online layer: one objective with eight slots, and one folder of parts a slot."""
