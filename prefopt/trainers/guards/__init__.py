"""The finite-step guard of all trainers: what is looked at, who decides, what is left out and what is told."""
