"""The online layer: one objective with nine slots, and one folder of parts a slot."""
