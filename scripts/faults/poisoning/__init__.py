"""Numbers that are not finite, put into chosen steps of a run; what each step did is compared bit for bit."""
