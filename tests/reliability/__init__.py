"""What is broken on purpose must not lose anything: the proofs behind docs/reliability.md."""
