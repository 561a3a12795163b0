"""What the parts of an online objective declare that they need: where each input comes from in a run."""
